/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/jobs.h"

#include <errno.h>
#include <syslog.h>

#include "service/bus.h"
#include "service/log.h"

static const char *const job_state_table[_JOB_STATE_MAX] = {
        [JOB_RUNNING] = "running",
        [JOB_DONE] = "done",
        [JOB_FAILED] = "failed",
        [JOB_HUNG] = "hung",
};

const char *job_state_to_string(JobState s) {
        return s < _JOB_STATE_MAX ? job_state_table[s] : NULL;
}

static Job *job_free(Job *j) {
        if (!j)
                return NULL;
        for (Job **p = &j->manager->jobs; *p; p = &(*p)->next)
                if (*p == j) {
                        *p = j->next;
                        break;
                }
        free(j->path);
        free(j->text);
        free(j->owner);
        free(j->controllers);
        free(j->guest);
        free(j);
        return NULL;
}
DEFINE_CLEANUP(Job *, job_free)

static LogObject job_log_object(const Job *j) {
        return (LogObject){ .controllers = j->controllers, .n_controllers = j->n_controllers, .guest = j->guest };
}

static void job_progress(void *userdata, unsigned step, unsigned total, const char *text) {
        Job *j = userdata;
        char *copy = strdup(text);

        if (copy) {
                free(j->text);
                j->text = copy;
        }
        j->done = step;
        j->total = total;
        if (j->state == JOB_HUNG)
                j->state = JOB_RUNNING; /* it goes on */
        bus_job_changed(j);
}

/* The caller gets its answer now; the object stays until the worker ends, and with it the controllers stay busy. */
static void job_hung(void *userdata) {
        _cleanup_error_ Error *e = NULL;
        _cleanup_json_ json_t *error = NULL;
        Job *j = userdata;
        LogObject o = job_log_object(j);

        j->state = JOB_HUNG;
        (void) error_set_full(&e, ETIMEDOUT, "hung",
                              "`dmesg`, or `virsh list` where libvirt is asked, may show what does not answer; `passthructl status` "
                              "shows when it ends",
                              "%s has not ended within %u seconds and goes on; it stands at step %u of %u: %s", j->kind,
                              j->verb->deadline, j->done + 1, j->total, j->text ? j->text : "not begun");
        log_object(LOG_ERR, &o, "%s", e ? e->message : "a job hangs");
        error = e ? error_to_json(e) : NULL;
        bus_job_changed(j);
        bus_job_over(j, NULL, error, NULL);
        j->announced = true;
        manager_sync(j->manager);
}

static void job_announce(Job *j, const WorkerOutcome *o) {
        _cleanup_json_ json_t *error = o->error ? error_to_json(o->error) : NULL;

        if (!o->error)
                j->done = j->total;
        bus_job_changed(j);
        if (!j->announced)
                bus_job_over(j, o->result, error, o->findings);
}

static void job_done(void *userdata, const WorkerOutcome *o) {
        _cleanup_(job_freep) Job *j = userdata;
        LogObject about = job_log_object(j);
        Manager *m = j->manager;
        bool changes = j->verb->changes, undo_failed = o->error && str_equal(o->error->name, "undo-failed");

        j->state = o->error ? JOB_FAILED : JOB_DONE;
        if (o->lost && changes)
                log_object(LOG_ERR, &about, "%s: %s", j->kind, o->error->message);
        job_announce(j, o);
        bus_job_removed(j);
        j = job_free(j);
        if (!changes)
                return;
        if (o->lost || undo_failed)
                manager_recover(m); /* refreshes when it is done */
        else
                manager_refresh(m);
}

static const WorkerHandler job_handler = {
        .progress = job_progress,
        .hung = job_hung,
        .done = job_done,
};

static int job_set_object(Job *j, const PlanRequest *q) {
        if (!q)
                return 0;
        j->guest = q->guest ? strdup(q->guest) : NULL;
        j->controllers = calloc(q->n_controllers + 1, sizeof *j->controllers);
        if (!j->controllers || (q->guest && !j->guest))
                return -ENOMEM;
        for (size_t i = 0; i < q->n_controllers; i++)
                j->controllers[i] = q->controllers[i];
        j->n_controllers = q->n_controllers;
        return 0;
}

int job_start(Manager *m, const Verb *v, const char *kind, const char *owner, uid_t uid, const PlanRequest *q,
              const json_t *request, Job **ret, Error **e) {
        _cleanup_(job_freep) Job *j = calloc(1, sizeof *j);

        if (!j)
                return error_oom(e);
        *j = (Job){ .manager = m, .next = m->jobs, .id = ++m->last_job, .kind = kind, .verb = v };
        m->jobs = j;
        j->owner = strdup(owner);
        if (!j->owner || asprintf(&j->path, BUS_PATH "/job/%llu", (unsigned long long) j->id) < 0 ||
            job_set_object(j, q) < 0)
                return error_oom(e);
        int r = worker_start(&m->workers, uid, v, request, &job_handler, j, e);
        if (r < 0)
                return r;
        bus_job_added(j);
        if (v->changes)
                manager_sync(m);
        *ret = TAKE_PTR(j);
        return 0;
}

const Job *job_find_change(const Manager *m) {
        for (const Job *j = m->jobs; j; j = j->next)
                if (j->verb->changes)
                        return j;
        return NULL;
}

bool job_concerns(const Job *j, const char *address, const char *guest) {
        if (j->n_controllers == 0)
                return j->guest && str_equal(j->guest, guest);
        for (size_t i = 0; i < j->n_controllers; i++)
                if (str_equal(PCI_ADDRESS_STR(&j->controllers[i]), address))
                        return true;
        return false;
}

Job *job_find(const Manager *m, const char *path) {
        for (Job *j = m->jobs; j; j = j->next)
                if (str_equal(j->path, path))
                        return j;
        return NULL;
}

void jobs_clear(Manager *m) {
        while (m->jobs)
                job_free(m->jobs);
}
