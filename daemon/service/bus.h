/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "service/jobs.h"

/* The objects on the bus, one file per interface. */

int bus_manager_register(Manager *m);
int bus_controller_register(Manager *m);
int bus_job_register(Manager *m);

/* Forgets the calls that wait; at the end of the daemon. */
void bus_calls_clear(Manager *m);

void bus_job_added(const Job *j);
/* Tells the job's owner about State, Done, Total and Text. */
void bus_job_changed(const Job *j);
/* Sends JobRemoved to the job's owner; result, error (JSON) and findings may be NULL. */
void bus_job_over(const Job *j, json_t *result, json_t *error, json_t *findings);
void bus_job_removed(const Job *j);

/* Makes the controller objects those of the list (rows of `list`), and signals each difference. */
void controllers_update(Manager *m, const json_t *list);
void controllers_clear(Manager *m);

/* org.passthru1.Error.NAME with the name in CamelCase ("no-such-guest": NoSuchGuest), or Failed. The text is the
 * message and, where there is a remedy, a newline and the remedy. Returns the negative errno for a method handler. */
int bus_error_set(sd_bus_error *ret, const Error *e);
