/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "cli.h"

/* The daemon, here or on the host of -H. */
int bus_open(const Arguments *a, sd_bus **ret, Error **e);
/* Any call; m is consumed. What the daemon answers with an error becomes *e. */
int bus_call(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret, Error **e);
/* A call of the manager; m is made by bus_message and consumed. The reply is one JSON text. */
int bus_message(sd_bus *bus, const char *method, sd_bus_message **ret, Error **e);
int bus_call_json(sd_bus *bus, sd_bus_message *m, json_t **ret, Error **e);
/* The same for a method that starts a job: waits for its end, with progress on stderr; *ret is its result. */
int bus_call_job(sd_bus *bus, sd_bus_message *m, json_t **ret, Error **e);
/* Appends an array of n strings. */
int bus_append_strings(sd_bus_message *m, char *const *strings, size_t n, Error **e);
/* A call without arguments but one string (NULL: none). */
int bus_simple(const Arguments *a, const char *method, const char *argument, json_t **ret, Error **e);
