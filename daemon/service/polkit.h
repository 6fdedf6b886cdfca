/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "plan/plan.h"
#include "service/manager.h"

/* Asks polkit whether a caller may do something, without keeping the daemon waiting: a person may have to think of a
 * password first. */

typedef struct PolkitQuestion {
        const char *action;
        const char *sentence; /* for that person, with $(controllers) and $(guest) */
        const PlanRequest *about;
        uid_t uid; /* of the caller */
} PolkitQuestion;

/* 0 when polkit is asked: the message is kept, and answered when it is denied or dispatched again when it is allowed.
 * Else a negative errno with error set. */
int polkit_ask(Manager *m, sd_bus_message *message, const PolkitQuestion *q, sd_bus_error *error);
/* True, once, when the message is one that was kept and has been allowed. */
bool polkit_take_allowed(Manager *m, const sd_bus_message *message);
/* At the end of the daemon: nobody is to go on being asked for a password. */
void polkit_clear(Manager *m);
