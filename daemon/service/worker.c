/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define LINE_MAX_SIZE (32u * 1024 * 1024)
#define USEC_PER_SEC 1000000ULL

struct Worker {
        WorkerSet *set;
        Worker *next;
        const Verb *verb;
        const WorkerHandler *handler;
        void *userdata;
        uid_t uid; /* for whom */
        pid_t pid;
        int fd; /* its answers */
        sd_event_source *io, *child, *deadline, *look;
        char *buffer;
        size_t size;
        json_t *answer; /* the final line */
        bool finished; /* done() was called */
};

static Worker *worker_free(Worker *w) {
        if (!w)
                return NULL;
        for (Worker **p = &w->set->first; *p; p = &(*p)->next)
                if (*p == w) {
                        *p = w->next;
                        w->set->n--;
                        break;
                }
        sd_event_source_disable_unref(w->io);
        sd_event_source_disable_unref(w->child);
        sd_event_source_disable_unref(w->deadline);
        sd_event_source_disable_unref(w->look);
        closep(&w->fd);
        free(w->buffer);
        json_decref(w->answer);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(Worker *, worker_free)

/* ---- answers ---- */

static void worker_line(Worker *w, const char *text, size_t size) {
        _cleanup_json_ json_t *line = json_loadb(text, size, 0, NULL);
        json_t *progress = json_object_get(line, "progress"), *event = json_object_get(line, "event");

        if (event) {
                if (w->handler->event && !w->finished)
                        w->handler->event(w->userdata, event);
                return;
        }
        if (progress) {
                /* One that changes the host may take as many steps as it needs; each has the time. */
                if (w->verb->changes) {
                        (void) sd_event_source_set_time_relative(w->deadline, w->verb->deadline * USEC_PER_SEC);
                        (void) sd_event_source_set_enabled(w->deadline, SD_EVENT_ONESHOT);
                }
                const char *s = json_string_value(json_object_get(progress, "text"));
                if (w->handler->progress && !w->finished)
                        w->handler->progress(
                                w->userdata, (unsigned) json_integer_value(json_object_get(progress, "step")),
                                (unsigned) json_integer_value(json_object_get(progress, "total")), s ? s : "");
                return;
        }
        if (!w->answer && (json_object_get(line, "result") || json_object_get(line, "error")))
                w->answer = TAKE_PTR(line);
}

static void worker_lines(Worker *w) {
        char *begin = w->buffer, *end = w->buffer + w->size, *newline;

        while ((newline = memchr(begin, '\n', (size_t) (end - begin)))) {
                worker_line(w, begin, (size_t) (newline - begin));
                begin = newline + 1;
        }
        w->size = (size_t) (end - begin);
        memmove(w->buffer, begin, w->size);
}

/* Reads what is there. 1: more may come, 0: end, negative: unreadable. */
static int worker_read(Worker *w) {
        for (;;) {
                char *buffer = realloc(w->buffer, w->size + 65536);
                if (!buffer)
                        return -ENOMEM;
                w->buffer = buffer;
                ssize_t n = read(w->fd, w->buffer + w->size, 65536);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 1 : -errno;
                if (n == 0)
                        return 0;
                w->size += (size_t) n;
                worker_lines(w);
                if (w->size > LINE_MAX_SIZE)
                        return -E2BIG;
        }
}

/* ---- the end ---- */

static int worker_explain(const Worker *w, const siginfo_t *si, Error **e) {
        const char *remedy = w->verb->changes
                                     ? "`journalctl -u passthrud` tells more; what was begun is undone by the recovery"
                                     : "`journalctl -u passthrud` tells more";

        if (si->si_code == CLD_EXITED)
                return error_set_full(e, EPROTO, "worker-failed", remedy,
                                      "the worker \"%s\" ended with status %d and no answer", w->verb->name,
                                      si->si_status);
        return error_set_full(e, EPROTO, "worker-failed", remedy, "the worker \"%s\" was ended by signal %d (%s)",
                              w->verb->name, si->si_status, strsignal(si->si_status));
}

/* Tells the outcome, once. e is what is wrong when there is no answer. */
static void worker_finish(Worker *w, Error *e) {
        _cleanup_error_ Error *told = NULL;
        json_t *error = json_object_get(w->answer, "error");
        WorkerOutcome o = { .findings = json_object_get(w->answer, "findings") };

        if (w->finished)
                return;
        w->finished = true;
        if (error) {
                (void) error_from_json(error, &told);
                o.error = told;
        } else if (w->answer)
                o.result = json_object_get(w->answer, "result");
        else {
                o.error = e;
                o.lost = true;
        }
        w->handler->done(w->userdata, &o);
}

/* Whoever traces a process (strace, gdb) has its end first, after the pidfd has told of it, once; then nothing tells that the
 * process can be waited for. Enabled anew, the source looks again. */
static int on_look(sd_event_source *s, uint64_t usec, void *userdata) {
        Worker *w = userdata;

        (void) usec;
        (void) sd_event_source_set_enabled(w->child, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(w->child, SD_EVENT_ONESHOT);
        (void) sd_event_source_set_time_relative(s, USEC_PER_SEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_answer(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        Worker *w = userdata;

        (void) fd;
        (void) events;
        if (worker_read(w) > 0)
                return 0;
        (void) sd_event_add_time_relative(w->set->event, &w->look, CLOCK_MONOTONIC, USEC_PER_SEC, 0, on_look, w);
        return sd_event_source_set_enabled(s, SD_EVENT_OFF);
}

static int on_exit_of_child(sd_event_source *s, const siginfo_t *si, void *userdata) {
        _cleanup_error_ Error *e = NULL;
        Worker *w = userdata;

        (void) s;
        (void) worker_read(w);
        (void) worker_explain(w, si, &e);
        worker_finish(w, e);
        const WorkerHandler *handler = w->handler;
        void *about = w->userdata;
        worker_free(w);
        if (handler->gone)
                handler->gone(about);
        return 0;
}

/*
 * A reader is killed and its caller answered, even when the process is stuck in the kernel and stays. A worker that
 * changes the host is left alone: killed half-way through an unbind it would leave more to repair, and it may yet
 * finish.
 */
static int on_deadline(sd_event_source *s, uint64_t usec, void *userdata) {
        _cleanup_error_ Error *e = NULL;
        Worker *w = userdata;

        (void) s;
        (void) usec;
        if (w->verb->changes) {
                if (w->handler->hung && !w->finished)
                        w->handler->hung(w->userdata);
                return 0;
        }
        (void) kill(w->pid, SIGKILL);
        (void) error_set_full(&e, ETIMEDOUT, "timed-out",
                              "`dmesg` may name a disk or controller that does not answer; then try again",
                              "the worker \"%s\" did not answer within %u seconds", w->verb->name, w->verb->deadline);
        worker_finish(w, e);
        return 0;
}

/* ---- the start ---- */

/* The request is in a file, not a pipe, so that writing it cannot block. */
static int request_file(const json_t *request, int *ret) {
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *text = NULL;

        text = json_dumps(request, JSON_COMPACT);
        if (!text)
                return -ENOMEM;
        fd = memfd_create("request", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (write(fd, text, strlen(text)) != (ssize_t) strlen(text))
                return -EIO;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* The daemon blocks the signals that it reads from its event loop; the worker begins with none blocked, and in a
 * session of its own, so that a Ctrl-C in the daemon's terminal does not reach into a transaction. */
static int spawn(const Verb *v, int in, int out, pid_t *ret) {
        char *const argv[] = { (char *) "passthrud", (char *) "--worker", (char *) v->name, NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none;

        sigemptyset(&none);
        int r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attr);
        if (r != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -r;
        }
        if ((r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO)) == 0 &&
            (r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO)) == 0 &&
            (r = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
            (r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID)) == 0)
                r = posix_spawn(ret, "/proc/self/exe", &actions, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static int worker_spawn(Worker *w, const json_t *request) {
        _cleanup_close_ int in = -1, out = -1;
        int fds[2];

        int r = request_file(request, &in);
        if (r < 0)
                return r;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        w->fd = fds[0];
        out = fds[1];
        if (fcntl(w->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        return spawn(w->verb, in, out, &w->pid);
}

static int worker_watch(Worker *w) {
        sd_event *event = w->set->event;

        int r = sd_event_add_child(event, &w->child, w->pid, WEXITED, on_exit_of_child, w);
        if (r >= 0)
                r = sd_event_add_io(event, &w->io, w->fd, EPOLLIN, on_answer, w);
        if (r >= 0 && w->verb->deadline > 0)
                r = sd_event_add_time_relative(event, &w->deadline, CLOCK_MONOTONIC, w->verb->deadline * USEC_PER_SEC,
                                               0, on_deadline, w);
        return r;
}

int worker_start(WorkerSet *set, uid_t uid, const Verb *v, const json_t *request, const WorkerHandler *h,
                 void *userdata, Error **e) {
        _cleanup_(worker_freep) Worker *w = calloc(1, sizeof *w);

        if (!w)
                return error_oom(e);
        *w = (Worker){
                .set = set,
                .next = set->first,
                .verb = v,
                .handler = h,
                .userdata = userdata,
                .uid = uid,
                .fd = -1,
        };
        set->first = w;
        set->n++;
        int r = worker_spawn(w, request);
        if (r < 0)
                return error_set(e, -r, "the worker \"%s\" cannot be started: %s", v->name, strerror(-r));
        r = worker_watch(w);
        if (r < 0) {
                /* It has not done anything yet that a kill could tear apart: the journal tells if it has. */
                (void) kill(w->pid, SIGKILL);
                return error_set(e, -r, "the worker \"%s\" cannot be followed: %s", v->name, strerror(-r));
        }
        TAKE_PTR(w);
        return 0;
}

void worker_signal(const WorkerSet *set, const void *userdata, int number) {
        for (const Worker *w = set->first; w; w = w->next)
                if (w->userdata == userdata && !w->finished)
                        (void) kill(w->pid, number);
}

size_t worker_set_count(const WorkerSet *set, uid_t uid) {
        size_t n = 0;

        for (const Worker *w = set->first; w; w = w->next)
                n += w->uid == uid;
        return n;
}

void worker_set_clear(WorkerSet *set) {
        while (set->first) {
                if (!set->first->verb->changes)
                        (void) kill(set->first->pid, SIGKILL);
                worker_free(set->first);
        }
}
