/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Inside plan/: what making plans is put together from. */

#include <errno.h>

#include "plan/plan.h"

/* Any of these is a client's to choose. */
#define PLAN_CONTROLLERS_MAX 64
#define PLAN_STRING_MAX 4096

#define VFIO_DRIVER "vfio-pci"

/* New strings; 0 or -ENOMEM. */
int step_init(Step *s, StepKind kind, const char *subject, const PciAddress *a, const char *before, const char *after);

int plan_add_step(Plan *p, StepKind kind, const char *subject, const PciAddress *a, const char *before, const char *after);
int plan_add_note(Plan *p, const char *format, ...) _printf_(2, 3);
/* The assignment file's text for a, compact and with sorted keys: the same record gives the same digest. */
int plan_record_text(const Assigned *a, char **ret);

/* Not empty, not overlong, without control characters, and UTF-8: can be shown, put into a path and written as JSON. */
bool plan_text_ok(const char *s);

const GuestDevice *guest_find_device(const Guest *g, const PciAddress *a);
/* Put into the definition by us, not by hand. */
bool guest_device_is_ours(const GuestDevice *d);

/* "libvirt does not answer", with the remedy. */
int plan_no_libvirt(const Host *h, const char *remedy, Error **e);

/* Fill p with steps and notes; findings get what the checks said. */
int plan_assign(const Host *h, const PlanRequest *q, Plan *p, FindingList *findings, Error **e);
int plan_release(const Host *h, const PlanRequest *q, Plan *p, Error **e);
