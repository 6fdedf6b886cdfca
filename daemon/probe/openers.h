/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/pci-address.h"

/* Who has a device open or mapped into memory, from /proc. */

typedef struct DeviceNumber {
        bool character; /* else a block device */
        unsigned major, minor;
} DeviceNumber;

/* Processes other than this one that have one of the devices open: "smartd (pid 812), dd (pid 9)"; NULL when there are
 * none. */
int openers_find(int root, const DeviceNumber *devices, size_t n, char **ret_who, Error **e);
/* "8:16" as sysfs writes it. */
int device_number_parse(const char *text, DeviceNumber *ret);

/* A device node that reaches what is behind a controller. */
typedef struct Device {
        DeviceNumber number;
        char *name;            /* of the node: "sdb1", "sg1", "nvme0" */
        char *disk;            /* kernel name of the whole disk; NULL: no disk, but a tape, or the controller itself */
        PciAddress controller;
} Device;

typedef struct DeviceList {
        Device *items;
        size_t n;
} DeviceList;

/* Disks, partitions, and character devices of the SCSI and NVMe layers (sg, bsg, st, ch, ng, nvme), of all controllers. */
int device_list_read(int root, DeviceList *ret);
void device_list_clear(DeviceList *l);
/* The numbers of those that reach the disk or, behind the controller, no disk. */
int device_list_of_disk(const DeviceList *l, const char *disk, const PciAddress *controller, DeviceNumber **ret, size_t *ret_n);

/* Called for each process and each device of the list that it has open, more than once when it has it several times. Return < 0 to stop. */
typedef int (*OpenerVisitor)(void *userdata, const char *pid, const char *command, size_t device);
int openers_walk(int root, const DeviceNumber *devices, size_t n, OpenerVisitor visit, void *userdata, Error **e);
