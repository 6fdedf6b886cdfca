/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/host.h"

/* The answer of `smartctl --json --health` and its exit status, into healthy and health. 0 or -ENOMEM. */
int health_from_json(Disk *d, const char *text, size_t size, int status);
