/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "base/macros.h"

/* Who may call what: one table. Installed as a filter in front of every object, so that no method can be forgotten. */
int authorize_filter(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The user that sent the message, as the bus daemon says. */
int authorize_sender_uid(sd_bus_message *m, uid_t *ret);
