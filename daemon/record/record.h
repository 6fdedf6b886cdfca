/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"
#include "record/alias.h"

/* Writes what the probes read below `root` (AT_FDCWD: the live machine) into the empty directory `target`, laid out like /,
 * and h's live facts (probe/recording.h). Identifiers are replaced by a's aliases, the guests' definitions
 * in h as well. *ret_files: how many. */
int record_host(int root, Host *h, int target, Aliases *a, size_t *ret_files, Error **e);

/* A domain's XML without what no check needs and others must not see: secrets, names of other hosts, free text. The
 * serial numbers of its emulated disks become known to a. Newly allocated; NULL when it is no XML, or out of memory. */
char *definition_redact(const char *xml, Aliases *a);
/* The same for a storage pool's. */
char *pool_redact(const char *xml, Aliases *a);
