/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "service/verb.h"

/* The daemon's side of workers: start, follow, and give up on them. Nothing here blocks. */

typedef struct Worker Worker;

typedef struct WorkerSet {
        sd_event *event;
        Worker *first;
        size_t n; /* processes that exist, those given up on but stuck in the kernel included */
} WorkerSet;

/* How a worker ended. Exactly one of result and error is set. */
typedef struct WorkerOutcome {
        json_t *result;
        const Error *error;
        json_t *findings; /* or NULL */
        bool lost; /* it ended without an answer: what it was changing is unknown */
} WorkerOutcome;

typedef struct WorkerHandler {
        void (*progress)(void *userdata, unsigned step, unsigned total, const char *text); /* may be NULL */
        void (*event)(void *userdata, const json_t *event); /* may be NULL */
        void (*hung)(void *userdata); /* its deadline passed, it goes on: once, only for verbs that change the host */
        void (*done)(void *userdata, const WorkerOutcome *o); /* once, when there is an outcome */
        void (*gone)(
                void *userdata); /* after done, when the process exists no more; without it userdata may go with done */
} WorkerHandler;

/* For the daemon's own, which does not count among the calls and jobs. */
#define WORKER_OF_NOBODY ((uid_t) -1)

/* uid is the user on whose behalf it works. request is not kept. On success done() will be called, from the event
 * loop. */
int worker_start(WorkerSet *set, uid_t uid, const Verb *v, const json_t *request, const WorkerHandler *h,
                 void *userdata, Error **e);
/* A signal to the worker with that userdata. SIGTERM: a change stops between two steps and undoes what it did. */
void worker_signal(const WorkerSet *set, const void *userdata, int number);
/* How many of the processes work for that user. */
size_t worker_set_count(const WorkerSet *set, uid_t uid);
/* At the end of the daemon: no more callbacks. Readers are killed; those that change the host go on alone. */
void worker_set_clear(WorkerSet *set);
