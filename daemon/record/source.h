/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/macros.h"

/* Which files a recording holds, and what is done to each: the one list. A file that a probe reads and that is not here is
 * unknown in every recording. */

typedef enum Treatment {
        TREAT_TEXT,             /* as it is, with aliases */
        TREAT_SERIAL,           /* nothing but a serial number */
        TREAT_WWN,              /* nothing but a WWN */
        TREAT_FOLDER,           /* that it is there */
        TREAT_LINK,             /* the symbolic link, and that what it leads to is there */
        TREAT_UUID_LINK,        /* a link that is named by a UUID */
        TREAT_CONFIG,           /* configuration space; the Device Serial Number gets an alias */
        TREAT_BINARY,           /* as it is; holds nothing of a single machine */
        TREAT_PAGE,             /* SCSI's serial number page: four bytes, then the number */
        TREAT_POOL,             /* a storage pool's XML, without secrets */
        TREAT_KERNEL_CONFIG,    /* options of the IOMMU and VFIO */
        TREAT_CPU,              /* the first processor of /proc/cpuinfo */
        TREAT_COMMAND_LINE,     /* values of parameters that no check reads are left out */
        TREAT_MODPROBE,         /* of modprobe.d's options those of VFIO, and softdeps */
        TREAT_TABLE,            /* the first two words of each line that names a block device */
        TREAT_MOUNTS,           /* lines of mountinfo that name a block device or a pool */
        TREAT_PROPERTIES,       /* of udev's database: the listed ones */
} Treatment;

typedef struct Source {
        const char *pattern;    /* glob(7) with braces, from the root */
        Treatment treatment;
} Source;

extern const Source record_sources[];
extern const size_t n_record_sources;

/* The treatments that leave something out; newly allocated, NULL when out of memory. */
char *source_cpu(const char *text);
char *source_command_line(const char *text);
char *source_modprobe(const char *text);
char *source_table(const char *text);
char *source_mounts(const char *text);
char *source_kernel_config(const char *text);
char *source_properties(const char *text);
