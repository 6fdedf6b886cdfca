/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "base/macros.h"

/* Who may call what: one table. Installed as a filter in front of every object, so that no method can be forgotten. */
int authorize_filter(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* True when the message was sent by root, as the bus daemon says. m may be NULL (false). */
bool authorize_sender_is_root(sd_bus_message *m);
