/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "bus.h"

/* What assign and release share: plan, show, ask, carry out. */
typedef struct Change {
        const char *plan_method, *method;
        char **addresses;
        size_t n_addresses;
        const char *guest;   /* "" when none */
        bool accepts;        /* assign: sends the accepted checks; the flag is no_attach. Else the flag is force_unplug. */
        bool flag;
} Change;

int change_run(const Arguments *a, const Change *c, Error **e);
