/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs that change the host. Each holds the journal's lock from its first look at the host until it exits. */
#include "service/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <syslog.h>

#include "apply/apply.h"
#include "base/file.h"
#include "model/controller.h"
#include "service/log.h"
#include "service/request.h"

static const char *state_dir_path(void) {
        const char *path = getenv("STATE_DIRECTORY"); /* set by systemd: StateDirectory= */

        return path && *path ? path : "/var/lib/passthru";
}

static int state_dir_open(Error **e) {
        const char *path = state_dir_path();

        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return error_set(e, errno, "%s cannot be created: %s", path, strerror(errno));
        int fd = dir_open(AT_FDCWD, path);
        if (fd < 0)
                return error_set(e, -fd, "%s cannot be opened: %s", path, strerror(-fd));
        return fd;
}

/* The lock's holder is named by the journal's own message; programs get a stable word for it. */
static int journal_open_now(Journal **ret, Error **e) {
        _cleanup_error_ Error *why = NULL;
        _cleanup_close_ int dir = -1;

        dir = state_dir_open(e);
        if (dir < 0)
                return dir;
        int r = journal_open(dir, 0, ret, &why);
        if (r == -EAGAIN)
                return error_set_full(e, EBUSY, "busy",
                                      "wait until it has ended; `passthructl status` shows how it stands",
                                      "another change of this host is under way: %s",
                                      why && why->message ? why->message : "the journal is locked");
        if (r < 0 && e && !*e)
                *e = TAKE_PTR(why);
        return r;
}

static int journal_refuse_open_transaction(Journal *j, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = NULL;

        int r = journal_open_transaction(j, &t, e);
        if (r < 0 || !t)
                return r;
        return error_set_full(
                e, EBUSY, "recovery-needed",
                "`systemctl restart passthrud` tries again; `journalctl -u passthrud` tells what stood in the way",
                "an earlier change of this host (transaction %s) is neither finished nor undone", t->id);
}

static int plan_again(const PlanRequest *q, const char *digest, Host **ret_host, Plan **ret_plan, Answer *a,
                      Error **e) {
        _cleanup_findings_ FindingList findings = {};
        _cleanup_(plan_freep) Plan *p = NULL;
        _cleanup_(host_freep) Host *h = NULL;
        _cleanup_free_ char *now = NULL;

        int r = probe_host_about(AT_FDCWD, request_probe_flags(q), q->controllers, q->n_controllers, &h, e);
        if (r < 0)
                return r;
        r = plan_make(h, q, &p, &findings, e);
        a->findings = finding_list_to_json(&findings);
        if (r < 0)
                return r;
        now = plan_digest(p);
        if (!now)
                return error_oom(e);
        if (!str_equal(now, digest))
                return error_set_full(e, ESTALE, "changed", "run the command again and look at the new plan",
                                      "the host has changed since the plan was shown, nothing was done");
        *ret_host = TAKE_PTR(h);
        *ret_plan = TAKE_PTR(p);
        return 0;
}

static volatile sig_atomic_t cancelled;

static void on_terminate(int signal_number) {
        (void) signal_number;
        cancelled = 1;
}

static bool is_cancelled(void) {
        return cancelled;
}

static void on_progress(void *userdata, size_t step, size_t total, const char *text) {
        answer_progress(userdata, step, total, text);
}

static json_t *apply_result(const Plan *p) {
        json_t *j = plan_to_json(p);

        json_object_set_new(j, "steps", json_integer((json_int_t) p->n_steps));
        json_object_del(j, "digest");
        return j;
}

static int apply_logged(Journal *j, const Host *h, const Plan *p, const json_t *request, Answer *a, Error **e) {
        LogObject o = {
                .controllers = p->controllers,
                .n_controllers = p->n_controllers,
                .guest = p->guest,
                .accept = json_object_get(json_object_get(request, "request"), "accept"),
                .uid = json_object_get(request, "uid"),
        };
        const char *kind = plan_kind_to_string(p->kind);

        log_object(LOG_NOTICE, &o, "%s for guest %s begins: %zu steps%s", kind, p->guest, p->n_steps,
                   p->forced ? ", whether the guest uses the disks or not" : "");
        int r = apply_plan(j, h, p, on_progress, is_cancelled, a, e);
        if (r < 0)
                log_object(LOG_ERR, &o, "%s for guest %s failed: %s", kind, p->guest,
                           e && *e && (*e)->message ? (*e)->message : strerror(-r));
        else
                log_object(LOG_NOTICE, &o, "%s for guest %s is done", kind, p->guest);
        return r;
}

/* {"request": PlanRequest, "digest": of the plan that was shown, "uid": who asks} */
static int run_apply(const json_t *request, Answer *a, Error **e) {
        _cleanup_(plan_request_clear) PlanRequest q = {};
        _cleanup_(journal_closep) Journal *j = NULL;
        _cleanup_(plan_freep) Plan *p = NULL;
        _cleanup_(host_freep) Host *h = NULL;

        /* Cancel, and the end of the system: what was begun is undone. */
        (void) sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_terminate, .sa_flags = SA_RESTART }, NULL);
        int r = plan_request_from_json(json_object_get(request, "request"), &q, e);
        if (r >= 0)
                r = journal_open_now(&j, e);
        if (r >= 0)
                r = journal_refuse_open_transaction(j, e);
        if (r >= 0)
                r = plan_again(&q, json_string_value(json_object_get(request, "digest")), &h, &p, a, e);
        if (r >= 0)
                r = apply_logged(j, h, p, request, a, e);
        if (r < 0)
                return r;
        a->result = apply_result(p);
        return a->result ? 0 : error_oom(e);
}

/* A worker of an earlier daemon may be in the middle of its transaction: only its end makes the state known. */
static int journal_open_waiting(const Answer *a, Journal **ret, Error **e) {
        _cleanup_error_ Error *why = NULL;
        _cleanup_close_ int dir = -1;

        dir = state_dir_open(e);
        if (dir < 0)
                return dir;
        int r = journal_open(dir, 0, ret, &why);
        if (r == -EAGAIN) {
                answer_progress(a, 0, 0, why && why->message ? why->message : "another process holds the journal");
                return journal_open(dir, -1, ret, e);
        }
        if (r < 0 && e && !*e)
                *e = TAKE_PTR(why);
        return r;
}

static int run_recover(const json_t *request, Answer *a, Error **e) {
        _cleanup_(journal_closep) Journal *j = NULL;
        _cleanup_(recovery_clear) Recovery rec = {};

        (void) request;
        int r = journal_open_waiting(a, &j, e);
        if (r >= 0)
                r = apply_recover(j, &rec, e);
        if (r < 0) {
                log_object(LOG_ERR, NULL, "recovery failed: %s",
                           e && *e && (*e)->message ? (*e)->message : strerror(-r));
                return r;
        }
        if (rec.needed)
                log_object(rec.complete ? LOG_NOTICE : LOG_ERR, NULL, "recovery of transaction %s %s: %s",
                           rec.transaction ? rec.transaction : "?", rec.complete ? "is complete" : "is incomplete",
                           rec.message ? rec.message : "");
        a->result = json_pack("{s:b, s:s?, s:s?, s:b}", "needed", rec.needed, "transaction", rec.transaction, "message",
                              rec.message, "complete", rec.complete);
        return a->result ? 0 : error_oom(e);
}

/* An unbind waits for the driver, which may wait for a dying disk (30 seconds a command, drivers/scsi/sd.h, SD_TIMEOUT), and a
 * guest has a minute to give a controller back: that is no fault yet. */
const Verb verb_apply = { .name = "apply", .deadline = 90, .changes = true, .run = run_apply };
const Verb verb_recover = { .name = "recover", .deadline = 90, .changes = true, .run = run_recover };
