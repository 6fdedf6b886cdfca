/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "local.h"

#include <errno.h>
#include <fcntl.h>

#include "probe/probe.h"

int local_host(const char *sysroot, Host **ret, Error **e) {
        _cleanup_close_ int root = open(sysroot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (root < 0)
                return error_set_full(e, errno, "no-sysroot", "Name a directory that is laid out like /: sys/ proc/ etc/ ...",
                                      "%s cannot be opened: %m", sysroot);
        return probe_host(root, PROBE_GUESTS, ret, e);
}
