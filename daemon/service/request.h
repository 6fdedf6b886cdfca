/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "plan/plan.h"
#include "probe/probe.h"

/* What clients send, with its limits. Nothing that comes from outside gets past here unmeasured. */

#define REQUEST_ITEMS_MAX 64 /* addresses or accepted checks of one request */
#define REQUEST_STRING_MAX 256 /* bytes of one string */

/* "invalid-address" when it is none; text may be NULL. */
int request_address(const char *text, PciAddress *ret, Error **e);
int request_addresses_from_json(const json_t *j, PciAddress **ret, size_t *ret_n, Error **e);
/* [address] as strings; new reference. */
json_t *request_addresses_to_json(const PciAddress *a, size_t n);

/* The arguments of bus methods, in their order. A malformed message is -EINVAL and the like with a message as well. */
int request_read_string(sd_bus_message *m, const char *what, const char **ret, Error **e);
int request_read_addresses(sd_bus_message *m, PciAddress **ret, size_t *ret_n, Error **e);
/* PlanAssign, PlanRelease and the same part of Assign and Release. */
int request_read_plan(sd_bus_message *m, PlanKind kind, PlanRequest *ret, Error **e);

/* What has to be read to plan q: an assignment also tries the disks. */
ProbeFlags request_probe_flags(const PlanRequest *q);
