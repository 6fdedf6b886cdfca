/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

/* What passthru says of a storage controller, and the JSON that `list` and `show` print. Pure functions of Host. */

typedef enum ControllerState {
        CONTROLLER_HOST,
        CONTROLLER_RESERVED, /* bound to vfio-pci for a guest */
        CONTROLLER_ATTACHED, /* in the guest's definition */
        CONTROLLER_RUNNING,  /* open by the guest */
        CONTROLLER_BUSY,     /* a job runs or hangs; only the daemon knows */
        CONTROLLER_FOREIGN,  /* bound to vfio by someone else */
        CONTROLLER_FENCED,   /* back on the host, not yet trusted */
        CONTROLLER_MISSING,  /* assigned, but nothing is at the address */
        CONTROLLER_MISMATCH, /* assigned, but other hardware is at the address */
        CONTROLLER_FAILED,   /* assigned, but not bound to vfio-pci, or the like */
        _CONTROLLER_STATE_MAX,
} ControllerState;

const char *controller_state_to_string(ControllerState s);

/* f may be NULL (missing). a is our record or NULL. While the guests are not known, an open group is "running", and libvirt's
 * files may tell of "attached". */
ControllerState host_controller_state(const Host *h, const PciFunction *f, const Assigned *a);

/* One row of `list --json`; new reference. */
json_t *controller_to_json(const Host *h, const PciFunction *f);
/* `list --json`: every storage controller and every missing assigned one. */
json_t *host_list_to_json(const Host *h);
/* `show --json`: the row plus port_path, upstream bridges, reset_method, reserved_regions, group details (each member with
 * class, driver, model). */
json_t *controller_show_to_json(const Host *h, const PciFunction *f);
/* `status --json`: array of {address, guest, state, healthy, message}. */
json_t *host_status_to_json(const Host *h);

/* An assignment file's contents, version 1, and back. Members: version, address, guest, port_path, vendor, device, ... */
json_t *assigned_to_json(const Assigned *a);
int assigned_from_json(const json_t *j, Assigned *ret, Error **e);
/* The record for f as it is now. */
int assigned_from_host(const Host *h, const PciFunction *f, const char *guest, Assigned *ret);
