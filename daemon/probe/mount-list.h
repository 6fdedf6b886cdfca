/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct Mount {
        char *source, *target, *where; /* where: another namespace in words, NULL ours */
        unsigned major, minor;
        bool btrfs, zfs;               /* file systems on several disks, of which mountinfo names one, or the pool */
        bool swap;
        bool configured;               /* only named by a file, not in use now */
        bool boot;
} Mount;

typedef struct MountList {
        Mount *items;
        size_t n;
} MountList;

void mount_list_clear(MountList *l);

/* Reads mounts of every namespace, swap areas, /etc/fstab, /etc/crypttab, and root= and resume= of `command_line`, which may be NULL.
 * `known` is whether our own namespace's mounts could be read: of a recording they may be absent, which is no error. -errno. */
int mount_list_read(MountList *l, int root, bool live, const char *command_line, bool *known);
