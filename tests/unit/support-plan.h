/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A machine that plans are made for, and what carrying out a step does to it. */

#include "plan/plan.h"

/* A SATA controller with two disks, alone in group 20; two more behind one bridge, in group 30, with a disk each. */
extern const PciAddress hba, twin1, twin2;

/* Healthy; the guest "nas" is shut off, "other" is running. */
Host *machine_new(void);
PciFunction *machine_function(Host *h, const PciAddress *a);
Guest *machine_guest(Host *h, const char *name);
void machine_attach(Host *h, const char *guest, const PciAddress *a, const char *alias);
void machine_plug(Host *h, const char *guest, const PciAddress *a, const char *alias);
/* Takes the host's own disks of the controller away, or brings them back, as its driver does. */
void machine_set_driver(Host *h, const PciAddress *a, const char *driver);
/* As after a reboot: what only lived in the kernel is as before any assignment, and the boot id another one. */
void machine_reboot(Host *h);

/* Does what the step says, by the kernel's rules: a probe binds what the override names, else ahci. Fails the test when the
 * step does not fit the state. */
void machine_step(Host *h, const Step *s);
void machine_steps(Host *h, const Step *steps, size_t n);
/* Everything that steps may change, as text. */
char *machine_text(const Host *h);

/* What plan_make makes of the request; fails the test when that is an error. */
Plan *plan_for(const Host *h, PlanKind kind, const char *guest, const PciAddress *a, size_t n);
