/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"

/* The block devices of /sys/class/block and how they stand on one another; inside probe/ only. A mounted btrfs is a node as
 * well, named by its UUID: only one of its devices shows in mountinfo. */

typedef struct BlockNode {
        char *name;
        char *title;          /* how chains call it: "dm-0 (LVM vg-data)"; NULL: by its name */
        char *path;           /* resolved sysfs path, "/sys/devices/..." */
        char *whole;          /* a partition's disk; NULL for others */
        char **below;         /* what it stands on where no `holders` tells: devices of a btrfs, backing device of a loop */
        size_t n_below;
        DiskUseKind use;      /* what it is to what it stands on */
        unsigned major, minor;
} BlockNode;

typedef struct BlockMap {
        BlockNode *nodes;
        size_t n;
} BlockMap;

void block_map_clear(BlockMap *m);
int block_map_read(int root, BlockMap *ret);
const BlockNode *block_map_find(const BlockMap *m, const char *name);
bool block_node_stands_on(const BlockNode *node, const char *name);

/* Called for the disk, its partitions, and what holds any of them, to the top. chain: "sdb1 → md0". Return < 0 to stop. */
typedef int (*BlockVisitor)(void *userdata, const BlockNode *node, const char *chain, bool held);
int block_walk(const BlockMap *m, int root, const char *disk, BlockVisitor visit, void *userdata);

/* The kernel's name of the block device at a path ("/dev/disk/by-id/..."); one that is not there counts by its own name. NULL
 * when out of memory, "" when it cannot be a block device. */
char *block_name(int root, const char *path);
/* The PCI function nearest above a device of sysfs. */
bool controller_of_path(const char *path, PciAddress *ret);
/* Adds a use unless the same chain is there already; one that bears on the boot wins. */
int disk_add_use(Disk *d, DiskUseKind kind, bool boot, const char *format, ...) _printf_(4, 5);
/* Takes what is in s. */
int disk_add_signature(Disk *d, DiskSignature *s);
/* Adds `name` as a user of the block device at the path `source` ("/dev/disk/by-id/..."), to each disk below it. Nothing when
 * it is no block device of this host. */
int block_add_user(Host *h, int root, const BlockMap *m, const char *source, DiskUseKind kind, const char *name);
