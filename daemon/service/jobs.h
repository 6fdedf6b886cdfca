/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "plan/plan.h"
#include "service/manager.h"

/* Work that outlasts a method call: an object on the bus while it runs, and JobRemoved when it is over. */

typedef enum JobState {
        JOB_RUNNING,
        JOB_DONE,
        JOB_FAILED,
        JOB_HUNG, /* past its deadline; its worker is not killed and may yet finish */
        _JOB_STATE_MAX,
} JobState;

struct Job {
        Manager *manager;
        Job *next;
        uint64_t id;
        char *path;
        const char *kind; /* "assign", "release", "preflight" */
        const Verb *verb;
        JobState state;
        unsigned done, total;
        char *text;
        char *owner; /* unique bus name of the caller; progress and result are for it alone */
        PciAddress *controllers;
        size_t n_controllers;
        char *guest;
        bool announced; /* JobRemoved was sent */
};

const char *job_state_to_string(JobState s);

/* owner and uid are the caller's. q may be NULL (preflight). On success the job is on the bus; *ret is valid until the
 * event loop turns. */
int job_start(Manager *m, const Verb *v, const char *kind, const char *owner, uid_t uid, const PlanRequest *q,
              const json_t *request, Job **ret, Error **e);
/* The running or hung job that changes the host; there is at most one. NULL when there is none. */
const Job *job_find_change(const Manager *m);
/* True when the job is about the controller at that address, or that guest's when it names the guest only. */
bool job_concerns(const Job *j, const char *address, const char *guest);
Job *job_find(const Manager *m, const char *path);
void jobs_clear(Manager *m);
