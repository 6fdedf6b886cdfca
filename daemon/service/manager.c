/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/manager.h"

#include <errno.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "service/authorize.h"
#include "service/bus.h"
#include "service/events.h"
#include "service/log.h"
#include "service/polkit.h"
#include "service/watch.h"

static const char *const manager_state_table[_MANAGER_STATE_MAX] = {
        [MANAGER_RECOVERING] = "recovering",
        [MANAGER_HUNG] = "hung",
        [MANAGER_READY] = "ready",
        [MANAGER_FAILED] = "failed",
};

const char *manager_state_to_string(ManagerState s) {
        return s < _MANAGER_STATE_MAX ? manager_state_table[s] : NULL;
}

/* text may be NULL. */
static void manager_set_state(Manager *m, ManagerState state, const char *text) {
        char *copy = text ? strdup(text) : NULL;
        bool changed = m->state != state;

        free(m->state_text);
        m->state_text = copy;
        m->state = state;
        (void) sd_notifyf(0, "STATUS=%s%s%s", manager_state_to_string(state), text ? ": " : "", text ? text : "");
        if (changed)
                (void) sd_bus_emit_properties_changed(m->bus, BUS_PATH, BUS_MANAGER, "State", NULL);
}

/* ---- the list ---- */

void manager_sync(Manager *m) {
        _cleanup_json_ json_t *list = m->list ? json_deep_copy(m->list) : NULL;

        if (!list)
                return;
        manager_overlay_list(m, list);
        controllers_update(m, list);
}

json_t *manager_reading(Manager *m, uint64_t *ret_number) {
        *ret_number = ++m->readings;
        return json_pack("{s:s*}", "guests_problem", watch_problem(m->watch));
}

void manager_learn(Manager *m, const json_t *rows, uint64_t number) {
        const json_t *row = json_array_get(rows, 0);

        if (row)
                watch_learn(m->watch, number, json_string_value(json_object_get(row, "guests_problem")));
}

void manager_set_list(Manager *m, const json_t *list, uint64_t number) {
        json_t *copy = number >= m->list_reading ? json_deep_copy(list) : NULL;

        manager_learn(m, list, number);
        if (!copy)
                return;
        m->list_reading = number;
        json_decref(m->list);
        m->list = copy;
        manager_sync(m);
}

static void refresh_done(void *userdata, const WorkerOutcome *o) {
        Manager *m = userdata;

        if (o->result)
                manager_set_list(m, o->result, m->refresh_reading);
        else
                log_object(LOG_WARNING, NULL, "the controllers could not be read again: %s", o->error->message);
}

static void refresh_gone(void *userdata) {
        Manager *m = userdata;

        m->refreshing = false;
        if (m->refresh_again)
                manager_refresh(m);
}

static const WorkerHandler refresh_handler = { .done = refresh_done, .gone = refresh_gone };

void manager_refresh(Manager *m) {
        _cleanup_json_ json_t *request = NULL;
        _cleanup_error_ Error *e = NULL;

        /* One at a time: if the host does not answer, more readers would only be stuck beside the first. */
        m->refresh_again = m->refreshing;
        if (m->refreshing)
                return;
        request = manager_reading(m, &m->refresh_reading);
        m->refreshing = request && worker_start(&m->workers, WORKER_OF_NOBODY, &verb_list, request, &refresh_handler, m, &e) >= 0;
        if (!m->refreshing)
                log_object(LOG_WARNING, NULL, "%s", e ? e->message : "no worker");
}

/* ---- recovery ---- */

/* The recovery of a transaction takes a few seconds at most; one that takes longer waits for something. */
#define OPEN_AFTER_USEC (5 * 1000000ULL)

/* Calls are answered from now on. Until then they wait in the socket: nobody who has just started the daemon is told to
 * come back later because of a recovery that ends at once. */
static void manager_open(Manager *m) {
        if (!m->opening)
                return;
        m->opening = sd_event_source_disable_unref(m->opening);
        int r = sd_bus_attach_event(m->bus, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0) {
                log_object(LOG_ERR, NULL, "the system bus cannot be listened to: %s", strerror(-r));
                (void) sd_event_exit(m->event, r);
        }
        (void) sd_notify(0, "READY=1");
}

static int on_open(sd_event_source *s, uint64_t usec, void *userdata) {
        (void) s;
        (void) usec;
        manager_open(userdata);
        return 0;
}

static void recover_progress(void *userdata, unsigned step, unsigned total, const char *text) {
        Manager *m = userdata;

        (void) step;
        (void) total;
        manager_set_state(m, m->state, text);
}

static void recover_hung(void *userdata) {
        Manager *m = userdata;
        _cleanup_free_ char *text = m->state_text ? strdup(m->state_text) : NULL;

        log_object(LOG_ERR, NULL, "the recovery has not ended within %u seconds and goes on: %s", verb_recover.deadline,
                   text ? text : "it did not say what it waits for");
        manager_set_state(m, MANAGER_HUNG, text);
}

static void recover_done(void *userdata, const WorkerOutcome *o) {
        Manager *m = userdata;
        const char *message = json_string_value(json_object_get(o->result, "message"));

        if (o->lost)
                log_object(LOG_ERR, NULL, "recovery: %s", o->error->message);
        if (o->error)
                manager_set_state(m, MANAGER_FAILED, o->error->message);
        else if (json_is_false(json_object_get(o->result, "complete")) &&
                 json_is_true(json_object_get(o->result, "needed")))
                manager_set_state(m, MANAGER_FAILED, message);
        else
                manager_set_state(m, MANAGER_READY, NULL);
        manager_refresh(m);
        manager_open(m);
}

static const WorkerHandler recover_handler = {
        .progress = recover_progress,
        .hung = recover_hung,
        .done = recover_done,
};

void manager_recover(Manager *m) {
        _cleanup_json_ json_t *request = json_object();
        _cleanup_error_ Error *e = NULL;

        manager_set_state(m, MANAGER_RECOVERING, NULL);
        if (worker_start(&m->workers, WORKER_OF_NOBODY, &verb_recover, request, &recover_handler, m, &e) >= 0)
                return;
        log_object(LOG_ERR, NULL, "recovery: %s", e ? e->message : "no worker");
        manager_set_state(m, MANAGER_FAILED, e ? e->message : "no worker");
        manager_open(m);
}

/* An earlier change may have failed to be undone because the guest's definition could not be reached. */
void manager_libvirt_is_back(Manager *m) {
        if (m->state == MANAGER_FAILED)
                manager_recover(m);
}

int manager_check_change(const Manager *m, Error **e) {
        const Job *j = job_find_change(m);

        if (m->state == MANAGER_RECOVERING || m->state == MANAGER_HUNG)
                return error_set_full(e, EBUSY, "recovering", "`passthructl status` shows when it has ended",
                                      "an earlier change of this host is still being finished or undone%s%s",
                                      m->state_text ? ": " : "", m->state_text ? m->state_text : "");
        if (j)
                return error_set_full(e, EBUSY, "busy",
                                      "wait until it has ended; `passthructl status` shows how it stands",
                                      "another change of this host is under way: job %llu, %s%s%s, is %s",
                                      (unsigned long long) j->id, j->kind, j->guest ? " for guest " : "",
                                      j->guest ? j->guest : "", job_state_to_string(j->state));
        return 0;
}

int manager_check_room(const Manager *m, uid_t uid, Error **e) {
        size_t all = m->workers.n - worker_set_count(&m->workers, WORKER_OF_NOBODY), own = worker_set_count(&m->workers, uid);
        size_t users = all - worker_set_count(&m->workers, 0);

        if (all < WORKERS_MAX && (uid == 0 || (own < WORKERS_PER_USER && users < WORKERS_MAX - WORKERS_FOR_ROOT)))
                return 0;
        return error_set_full(e, EAGAIN, "too-many", "try again when some of them have been answered",
                              "%zu requests are being answered, %zu of them yours; no more are taken", all, own);
}

/* ---- life ---- */

static int manager_connect(Manager *m) {
        int r = sd_bus_default_system(&m->bus);

        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(m->bus, 1);
        if (r >= 0)
                r = sd_bus_add_filter(m->bus, NULL, authorize_filter, m);
        if (r >= 0)
                r = sd_bus_add_object_manager(m->bus, NULL, BUS_PATH);
        if (r >= 0)
                r = bus_manager_register(m);
        if (r >= 0)
                r = bus_controller_register(m);
        if (r >= 0)
                r = bus_job_register(m);
        return r;
}

/* Before the event loop closes the bus. */
static int on_ending(sd_event_source *s, void *userdata) {
        (void) s;
        polkit_clear(userdata);
        return 0;
}

static int manager_start(Manager *m, Error **e) {
        int r = manager_connect(m);

        if (r < 0)
                return error_set_full(e, -r, NULL, "is the D-Bus system bus running?",
                                      "cannot connect to the system bus: %s", strerror(-r));
        r = events_new(m, &m->events, e);
        if (r < 0)
                return r;
        r = watch_new(m, &m->watch, e);
        if (r < 0)
                return r;
        r = sd_bus_request_name(m->bus, BUS_NAME, 0);
        if (r == -EEXIST || r == -EALREADY)
                return error_set(e, EEXIST, "the name " BUS_NAME " is taken: another passthrud is running");
        if (r < 0)
                return error_set_full(e, -r, NULL, "is the bus policy org.passthru1.conf installed?",
                                      "cannot take the name " BUS_NAME ": %s", strerror(-r));
        r = sd_event_add_time_relative(m->event, &m->opening, CLOCK_MONOTONIC, OPEN_AFTER_USEC, 0, on_open, m);
        if (r >= 0)
                r = sd_event_add_exit(m->event, &m->ending, on_ending, m);
        if (r >= 0)
                r = sd_event_source_set_priority(m->ending, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0)
                return error_set(e, -r, "no event source is to be had: %s", strerror(-r));
        manager_recover(m);
        return 0;
}

int manager_new(sd_event *event, Manager **ret, Error **e) {
        _cleanup_(manager_freep) Manager *m = calloc(1, sizeof *m);

        if (!m)
                return error_oom(e);
        m->event = sd_event_ref(event);
        m->workers.event = event;
        int r = manager_start(m, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        worker_set_clear(&m->workers);
        polkit_clear(m);
        bus_calls_clear(m);
        jobs_clear(m);
        controllers_clear(m);
        watch_free(m->watch);
        events_free(m->events);
        sd_event_source_disable_unref(m->opening);
        sd_event_source_disable_unref(m->ending);
        sd_bus_flush_close_unref(m->bus);
        json_decref(m->list);
        free(m->state_text);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
