/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

/* Where a guest's disks lie on the host; inside probe/ only. 0 or -errno. */

/* A storage pool's XML: adds its own devices to the volume's sources, and the volume's place in it (path NULL: by its name). */
int drive_add_pool(GuestDrive *d, const char *xml, const char *path);
/* The same from libvirt's file of the pool below the root; a pool that is not there is the drive's problem. */
int drive_read_pool(GuestDrive *d, int root);
/* Why the pool tells nothing, as the drive's problem. */
int drive_no_pool(GuestDrive *d, const char *why);
/* Matches the drives of all guests with the host's disks: their users, and the controllers that the drives lie behind. */
int guests_locate_drives(Host *h, int root);
