/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/watch.h"

#include <errno.h>
#include <signal.h>
#include <sys/inotify.h>
#include <syslog.h>
#include <time.h>

#include "service/events.h"
#include "service/log.h"
#include "service/settle.h"

#define RUN "/run"
#define SOCKETS "/run/libvirt"
#define APPEARED (IN_CREATE | IN_MOVED_TO)
#define AT_ONCE_USEC (1 * 1000000ULL)

struct Watch {
        Manager *manager;
        bool running; /* a worker exists */
        bool connected; /* libvirt answers */
        uint64_t reading; /* the last one begun before that: what it found out does not count */
        uint64_t doubted; /* when a reading last waited in vain */
        uint64_t delay; /* before the next attempt; 0: the last one went well */
        char *problem;
        sd_event_source *timer, *run, *sockets;
};

static uint64_t now_of(const Watch *w) {
        uint64_t now = 0;

        (void) sd_event_now(w->manager->event, CLOCK_MONOTONIC, &now);
        return now;
}

const char *watch_problem(const Watch *w) {
        return w->problem;
}

/* Said once, not for each attempt after that. */
static void set_problem(Watch *w, const char *problem) {
        if (!w->problem)
                log_object(LOG_NOTICE, NULL, "the guests are not known for now: %s", problem);
        free(w->problem);
        w->problem = strdup(problem);
}

/* ---- what libvirt says ---- */

static bool is_assigned(const Manager *m, const char *guest) {
        json_t *row;
        size_t i;

        json_array_foreach(m->list, i, row)
                if (guest && str_equal(json_string_value(json_object_get(row, "guest")), guest))
                        return true;
        return false;
}

static void log_event(const Manager *m, const char *kind, const char *guest, const char *device) {
        LogObject about = { .guest = guest };

        if (!is_assigned(m, guest))
                return;
        if (str_equal(kind, "crashed"))
                log_object(LOG_WARNING, &about, "guest %s crashed", guest);
        else if (str_equal(kind, "failed"))
                log_object(LOG_WARNING, &about, "guest %s ended without being shut down", guest);
        else if (str_equal(kind, "device-removal-failed"))
                log_object(LOG_WARNING, &about, "guest %s did not give up its device %s", guest, device ? device : "");
}

static void on_answer(Watch *w) {
        bool back = w->problem;

        free(w->problem);
        w->problem = NULL;
        w->connected = true;
        w->reading = w->manager->readings;
        if (!back)
                return;
        log_object(LOG_NOTICE, NULL, "libvirt answers");
        manager_libvirt_is_back(w->manager);
}

/* At once: libvirt itself goes on, and the reading waited for a guest that is busy, as it is while it starts. Reading
 * again would only wait again; the guest's event will come. */
static bool was_a_guest(const Watch *w) {
        return now_of(w) - w->doubted < AT_ONCE_USEC;
}

static void on_event(void *userdata, const json_t *event) {
        const char *kind = json_string_value(json_object_get(event, "kind"));
        bool connected = str_equal(kind, "connected"), answers = str_equal(kind, "answers");
        Watch *w = userdata;

        if (connected || answers)
                on_answer(w);
        else
                log_event(w->manager, kind, json_string_value(json_object_get(event, "guest")),
                          json_string_value(json_object_get(event, "device")));
        if (!answers || !was_a_guest(w))
                events_note(w->manager->events);
}

/* ---- the worker ---- */

static void on_done(void *userdata, const WorkerOutcome *o) {
        const char *problem = o->error ? o->error->message : "the worker \"watch\" has ended";
        Watch *w = userdata;

        /* Where it never was connected the readings have found out themselves. */
        if (w->connected)
                events_note(w->manager->events);
        set_problem(w, problem);
        w->connected = false;
}

static void try_later(Watch *w) {
        w->delay = backoff_next(w->delay);
        (void) sd_event_source_set_time_relative(w->timer, w->delay);
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static void on_gone(void *userdata) {
        Watch *w = userdata;

        w->running = false;
        try_later(w);
}

static const WorkerHandler handler = { .event = on_event, .done = on_done, .gone = on_gone };

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        _cleanup_json_ json_t *request = json_pack("{s:I}", "daemon", (json_int_t) getpid());
        _cleanup_error_ Error *e = NULL;
        Watch *w = userdata;

        (void) s;
        (void) usec;
        if (w->running)
                return 0;
        w->running = request && worker_start(&w->manager->workers, WORKER_OF_NOBODY, &verb_watch, request, &handler, w, &e) >= 0;
        if (w->running)
                return 0;
        log_object(LOG_WARNING, NULL, "%s", e ? e->message : "no worker");
        try_later(w);
        return 0;
}

void watch_learn(Watch *w, uint64_t reading, const char *problem) {
        if (reading <= w->reading || w->problem)
                return;
        if (!problem) {
                w->delay = 0;
                return;
        }
        set_problem(w, problem);
        w->doubted = now_of(w);
        /* One that has not connected yet waits for libvirt already. */
        if (w->connected)
                worker_signal(&w->manager->workers, w, SIGUSR1);
}

/* ---- the sockets ---- */

/* What inotify does not tell, for want of watches or because a socket was there all the time, the timer finds out. */

/* A socket is there a moment before something listens on it. */
static void on_socket(Watch *w) {
        w->delay = 0;
        if (!w->running)
                try_later(w);
}

static int on_in_sockets(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        Watch *w = userdata;

        (void) s;
        if (event->mask & IN_IGNORED)
                w->sockets = sd_event_source_disable_unref(w->sockets);
        else if (event->len > 0 && (strncmp(event->name, "libvirt-sock", 12) == 0 ||
                                    strncmp(event->name, "virtqemud-sock", 14) == 0))
                on_socket(w);
        return 0;
}

static void watch_sockets(Watch *w) {
        w->sockets = sd_event_source_disable_unref(w->sockets);
        (void) sd_event_add_inotify(w->manager->event, &w->sockets, SOCKETS, APPEARED | IN_ONLYDIR, on_in_sockets, w);
}

static int on_in_run(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        Watch *w = userdata;

        (void) s;
        if (event->len == 0 || !str_equal(event->name, "libvirt"))
                return 0;
        /* A socket may have been made in it before it is watched. */
        watch_sockets(w);
        on_socket(w);
        return 0;
}

/* ---- life ---- */

int watch_new(Manager *m, Watch **ret, Error **e) {
        Watch *w = calloc(1, sizeof *w);

        if (!w)
                return error_oom(e);
        w->manager = m;
        int r = sd_event_add_time(m->event, &w->timer, CLOCK_MONOTONIC, 0, 0, on_timer, w);
        if (r < 0) {
                watch_free(w);
                return error_set(e, -r, "no timer is to be had: %s", strerror(-r));
        }
        (void) sd_event_add_inotify(m->event, &w->run, RUN, APPEARED | IN_ONLYDIR, on_in_run, w);
        watch_sockets(w);
        *ret = w;
        return 0;
}

Watch *watch_free(Watch *w) {
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->timer);
        sd_event_source_disable_unref(w->run);
        sd_event_source_disable_unref(w->sockets);
        free(w->problem);
        free(w);
        return NULL;
}
