/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "cli.h"
#include "model/host.h"

/* A recorded machine, read by the CLI's own copy of the probes and checks. */
int local_host(const char *sysroot, Host **ret, Error **e);
