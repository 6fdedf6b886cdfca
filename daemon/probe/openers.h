/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"

/* Who has a device open, from /proc/PID/fd. */

typedef struct DeviceNumber {
        bool character; /* else a block device */
        unsigned major, minor;
} DeviceNumber;

/* Processes other than this one that have one of the devices open: "smartd (pid 812), dd (pid 9)"; NULL when there are
 * none. */
int openers_find(int root, const DeviceNumber *devices, size_t n, char **ret_who, Error **e);
/* The disk, its partitions and its SCSI generic device. */
int disk_devices(int root, const char *disk, DeviceNumber **ret, size_t *ret_n);
/* "8:16" as sysfs writes it. */
int device_number_parse(const char *text, DeviceNumber *ret);
