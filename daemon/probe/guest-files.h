/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "model/host.h"

#define GUEST_FILES "/etc/libvirt/qemu"

/* The persistent definitions as libvirt keeps them, and what lies beside them; inside probe/ only. */
int guests_read_files(Host *h, int root, Error **e);
/* The guests of users' own libvirt (qemu:///session), which that of the system does not know: those of whoever is logged in.
 * 0 or -errno; what cannot be understood is left out, as any user could write it. */
int guests_read_sessions(Host *h, int root);
/* Takes the guest; on -ENOMEM it is cleared. */
int host_add_guest(Host *h, Guest *g);
