/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "record/tree.h"

/* Makes known what the recorded host is called, with and without its domain. 0 or -errno. */
int learn_host_names(Recorder *r);
