/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

static const Verb *const verbs[] = {
        &verb_list, &verb_show, &verb_status, &verb_preflight, &verb_plan, &verb_apply, &verb_recover, &verb_watch,
};

static const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (str_equal(verbs[i]->name, name))
                        return verbs[i];
        return NULL;
}

/* Takes the reference. Failure to write is no failure of the verb: SIGPIPE is ignored and the reader may be gone. */
static void answer_line(int fd, json_t *line) {
        _cleanup_free_ char *text = NULL;
        char *joined;

        text = line ? json_dumps(line, JSON_COMPACT) : NULL;
        json_decref(line);
        if (!text || asprintf(&joined, "%s\n", text) < 0)
                return;
        free(text);
        text = joined;
        for (size_t done = 0, size = strlen(text); done < size;) {
                ssize_t n = write(fd, text + done, size - done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return;
                done += (size_t) n;
        }
}

void answer_progress(const Answer *a, size_t step, size_t total, const char *text) {
        answer_line(a->fd, json_pack("{s:{s:I, s:I, s:s}}", "progress", "step", (json_int_t) step, "total",
                                     (json_int_t) total, "text", text ? text : ""));
}

void answer_event(const Answer *a, const char *kind, const char *guest, const char *device) {
        answer_line(a->fd,
                    json_pack("{s:{s:s, s:s?, s:s?}}", "event", "kind", kind, "guest", guest, "device", device));
}

static void answer_final(Answer *a, const Error *e) {
        json_t *line = json_object();

        if (e)
                json_object_set_new(line, "error", error_to_json(e));
        else
                json_object_set_new(line, "result", a->result ? json_incref(a->result) : json_null());
        if (a->findings)
                json_object_set(line, "findings", a->findings);
        answer_line(a->fd, line);
}

/* Answers go to a descriptor of their own: a library that prints to standard output must not spoil the protocol. */
static int answer_open(Answer *a) {
        a->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        if (a->fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
                return -errno;
        return 0;
}

static int verb_run(const Verb *v, Answer *a, Error **e) {
        _cleanup_json_ json_t *request = NULL;
        json_error_t problem;

        request = json_loadf(stdin, JSON_REJECT_DUPLICATES, &problem);
        if (!json_is_object(request))
                return error_set(e, EPROTO, "the request to the worker \"%s\" is not a JSON object: %s", v->name,
                                 request ? "another type" : problem.text);
        int r = v->run(request, a, e);
        if (r < 0)
                (void) error_set(e, -r, "the worker \"%s\" failed: %s", v->name, strerror(-r));
        return r;
}

int verb_main(const char *name) {
        _cleanup_error_ Error *e = NULL;
        const Verb *v = verb_find(name);
        Answer a = { .fd = -1 };

        if (!v) {
                fprintf(stderr, "passthrud: there is no worker \"%s\"\n", name);
                return 2;
        }
        /* A transaction outlives a daemon that is stopped or crashes. */
        (void) signal(SIGPIPE, SIG_IGN);
        int r = answer_open(&a);
        if (r < 0) {
                fprintf(stderr, "passthrud: cannot open the answers of worker \"%s\": %s\n", name, strerror(-r));
                return 1;
        }
        r = verb_run(v, &a, &e);
        answer_final(&a, r < 0 ? e : NULL);
        json_decref(a.result);
        json_decref(a.findings);
        (void) close(a.fd);
        return r < 0 ? 1 : 0;
}
