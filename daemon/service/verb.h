/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"

/*
 * What a worker can be asked to do. A worker is `passthrud --worker VERB`, executed anew, so that whatever may block
 * (driver locks, disks, libvirt) blocks a process of its own. The request is one JSON object on standard input, the
 * answers are JSON lines on standard output: any number of {"progress":{"step":N,"total":N,"text":".."}}, then one
 * {"result":..} or
 * {"error":{code,name,message,remedy}}; either may carry "findings" beside it.
 */

typedef struct Answer {
        int fd; /* where lines go */
        json_t *result; /* set by the verb on success */
        json_t *findings; /* set by the verb either way, or NULL */
} Answer;

typedef struct Verb {
        const char *name;
        unsigned deadline; /* seconds; for one that changes the host, since its last progress; 0: none, it lives on */
        bool changes; /* it changes the host: never killed, and reported as hung when late */
        int (*run)(const json_t *request, Answer *a, Error **e);
} Verb;

extern const Verb verb_list, verb_show, verb_status, verb_preflight, verb_plan, verb_apply, verb_recover, verb_watch;

/* Tells the daemon about a step. Never fails: when the daemon is gone the worker finishes without it. */
void answer_progress(const Answer *a, size_t step, size_t total, const char *text);
/* Tells the daemon what has happened; guest and device may be NULL. */
void answer_event(const Answer *a, const char *kind, const char *guest, const char *device);

/* The worker's main function; returns its exit status. */
int verb_main(const char *name);
