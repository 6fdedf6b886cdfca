/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

/*
 * What the agent of a guest answers (QEMU's qga/qapi-schema.json), read into Guest.disk_serials and Guest.uses. A guest may
 * answer anything: what is malformed is -EPROTO, and nothing it says can make a disk look unused that it was not asked for.
 */

typedef struct AgentDisk {
        char *name;   /* device node in the guest: "/dev/sda1" */
        char *serial, *controller; /* of the whole disk below it; NULL: not told */
} AgentDisk;

typedef struct AgentDisks {
        AgentDisk *items;
        size_t n;
} AgentDisks;

void agent_disks_clear(AgentDisks *d);

/* guest-get-disks: the nodes, and the serial numbers of the whole disks into g. */
int agent_parse_disks(const char *reply, AgentDisks *ret, Guest *g, Error **e);
/* guest-get-fsinfo: mounted file systems into g->uses. */
int agent_parse_filesystems(const char *reply, Guest *g, Error **e);
/* Output of `zpool status -LP`, and "swap: /dev/sda2" for each swap area, into g->uses. */
int agent_parse_pools(const char *status, const AgentDisks *d, Guest *g, Error **e);

/* guest-exec: the number of the process. */
int agent_parse_pid(const char *reply, long long *ret, Error **e);
/* guest-exec-status: 0 while the process runs, 1 when it has ended; then *ret_status (-1: by a signal) and *ret_output. */
int agent_parse_exit(const char *reply, int *ret_status, char **ret_output, Error **e);

/* g->uses gains one; d is the disk, NULL: not known which. 0 or -ENOMEM. */
int guest_add_use(Guest *g, const AgentDisk *d, const char *format, ...) _printf_(3, 4);
