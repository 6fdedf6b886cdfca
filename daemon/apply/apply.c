/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carries a plan out under one transaction, and undoes one. */
#include "apply/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "apply/step.h"
#include "probe/probe.h"

#define LIBVIRT_URI "qemu:///system"
#define UNDO_REMEDY "When the cause is gone, restart passthrud: it tries again (systemctl restart passthrud)."

static const StepFunction functions[_STEP_KIND_MAX] = {
        [STEP_HOLD] = step_hold,
        [STEP_FLUSH] = step_flush,
        [STEP_OVERRIDE] = step_override,
        [STEP_UNBIND] = step_unbind,
        [STEP_BIND] = step_bind,
        [STEP_VERIFY] = step_verify,
        [STEP_STORE] = step_store,
        [STEP_UNSTORE] = step_unstore,
        [STEP_ATTACH] = step_attach,
        [STEP_DETACH] = step_detach,
        [STEP_PLUG] = step_plug,
        [STEP_UNPLUG] = step_unplug,
};

typedef struct Run {
        StepContext *context;
        Journal *journal;
        Transaction *transaction;
        ApplyProgress progress;
        void *userdata;
} Run;

static int execute(StepContext *c, const Step *s, Error **e) {
        if ((unsigned) s->kind >= _STEP_KIND_MAX)
                return error_set(e, EINVAL, "a step of an unknown kind");
        return functions[s->kind](c, s, e);
}

static void report(const Run *run, size_t step, size_t total, const char *prefix, const Step *s) {
        _cleanup_free_ char *what = NULL, *text = NULL;

        if (!run->progress)
                return;
        what = step_describe(s);
        if (!what || asprintf(&text, "%s%s", prefix, what) < 0)
                return;
        run->progress(run->userdata, step, total, text);
}

static const char *error_text(const Error *e, int r) {
        return e && e->message ? e->message : strerror(-r);
}

/* Adds a sentence to what an undo has to tell. */
_printf_(2, 3) static void tell(char **message, const char *format, ...) {
        _cleanup_free_ char *more = NULL;
        char *joined;
        va_list ap;

        va_start(ap, format);
        int r = vasprintf(&more, format, ap);
        va_end(ap);
        if (r < 0 || asprintf(&joined, "%s%s%s", *message ? *message : "", *message ? "; " : "", more) < 0)
                return;
        free(*message);
        *message = joined;
}

/* -- undo ---------------------------------------------------------------------------------------------------------- */

typedef struct Undo {
        Host *host;    /* read anew: the undo goes by what is, not by what was meant */
        Step *steps;
        size_t *origin; /* the step of the plan that steps[i] undoes */
        size_t n;
        char *foreign;
} Undo;

static void undo_clear(Undo *u) {
        for (size_t i = 0; i < u->n; i++)
                step_clear(&u->steps[i]);
        free(u->steps);
        free(u->origin);
        free(u->foreign);
        u->host = host_free(u->host);
}

static bool is_guest_step(const Step *s) {
        return s->kind == STEP_ATTACH || s->kind == STEP_DETACH || s->kind == STEP_PLUG || s->kind == STEP_UNPLUG;
}

/* Without libvirt nobody knows whether the guest's definition holds the controller. */
static int check_guests_known(const Transaction *t, const Host *h, Error **e) {
        for (size_t i = 0; i < t->plan->n_steps; i++) {
                if (!is_guest_step(&t->plan->steps[i]) || h->guests_known)
                        continue;
                if (t->progress[i] == STEP_STARTED || t->progress[i] == STEP_DONE)
                        return error_set_full(e, ECONNREFUSED, "no-libvirt", "Start libvirt, then restart passthrud.",
                                              "the definition of guest %s cannot be brought back: %s",
                                              t->plan->steps[i].subject,
                                              h->guests_problem ? h->guests_problem : "libvirt does not answer");
        }
        return 0;
}

static int undo_plan(const Run *run, Undo *u, Error **e) {
        StepContext *c = run->context;
        ProbeFlags flags = PROBE_GUESTS | (step_is_live(c) ? PROBE_LIVE : 0);
        int r;

        if ((r = probe_host(c->root, flags, &u->host, e)) < 0 ||
            (r = check_guests_known(run->transaction, u->host, e)) < 0)
                return r;
        return recovery_steps(run->transaction, u->host, &u->steps, &u->origin, &u->n, &u->foreign, e);
}

/* What stands there is somebody else's, or nothing does: there is nothing of ours to take back. */
static bool is_not_ours(const Error *e) {
        return e && (str_equal(e->name, STEP_ERROR_FOREIGN) || str_equal(e->name, STEP_ERROR_MISMATCH) ||
                     str_equal(e->name, STEP_ERROR_MISSING) || str_equal(e->name, "no-such-guest"));
}

/* A record that cannot be written does not stop an undo: recovery goes by the state of the host, and finds it undone.
 * */
static void undo_record(const Run *run, size_t origin, char **message) {
        _cleanup_error_ Error *e = NULL;

        int r = journal_undone(run->journal, run->transaction, origin, &e);
        if (r < 0)
                tell(message, "the journal could not be written: %s", error_text(e, r));
}

static int undo_step(const Run *run, const Undo *u, size_t i, char **message, Error **e) {
        _cleanup_error_ Error *own = NULL;
        _cleanup_free_ char *what = NULL;

        report(run, i, u->n, "undo: ", &u->steps[i]);
        int r = execute(run->context, &u->steps[i], &own);
        if (r < 0 && is_not_ours(own)) {
                tell(message, "left alone: %s", error_text(own, r));
                r = 0;
        }
        if (r >= 0) {
                undo_record(run, u->origin[i], message);
                return 0;
        }
        what = step_describe(&u->steps[i]);
        return error_set_full(e, -r, own ? own->name : NULL, own ? own->remedy : NULL, "could not %s: %s",
                              what ? what : "undo a step", error_text(own, r));
}

/* What is still to be done, for people who have to do it themselves. */
static void tell_left(const Undo *u, size_t from, char **message) {
        for (size_t i = from; i < u->n; i++) {
                _cleanup_free_ char *what = step_describe(&u->steps[i]);
                tell(message, "%s%s", i == from ? "still to be done: " : "", what ? what : "a step");
        }
}

static int undo_steps(const Run *run, const Undo *u, char **message, Error **e) {
        for (size_t i = 0; i < u->n; i++) {
                int r = undo_step(run, u, i, message, e);
                if (r < 0) {
                        tell_left(u, i, message);
                        return r;
                }
        }
        return 0;
}

/* Brings the host back to before the transaction and closes it. *message gets what there is to tell. On an error the
 * transaction stays open. */
static int undo_transaction(const Run *run, const char *cause, char **message, Error **e) {
        StepContext *c = run->context;
        const Host *before = c->host;
        _cleanup_(undo_clear) Undo u = {};

        holds_release(c);
        int r = undo_plan(run, &u, e);
        if (r < 0)
                return r;
        if (u.foreign)
                tell(message, "left alone: %s", u.foreign);
        c->host = u.host;
        c->undoing = true;
        r = undo_steps(run, &u, message, e);
        c->undoing = false;
        c->host = before;
        holds_release(c);
        store_tidy(c);
        return r < 0 ? r : journal_abort(run->journal, run->transaction, cause, e);
}

/* -- apply --------------------------------------------------------------------------------------------------------- */

static int run_step(const Run *run, size_t i, Error **e) {
        const Plan *p = run->context->plan;
        int r;

        if (step_is_cancelled(run->context))
                return error_set_full(e, ECANCELED, "cancelled", NULL, "cancelled before step %zu of %zu", i + 1, p->n_steps);
        report(run, i, p->n_steps, "", &p->steps[i]);
        if ((r = journal_start(run->journal, run->transaction, i, e)) < 0 ||
            (r = execute(run->context, &p->steps[i], e)) < 0)
                return r;
        return journal_done(run->journal, run->transaction, i, e);
}

/* Plugging comes last in a plan, and after its commit: from then on the guest may write, and no undo may take that away. */
static size_t first_plug(const Plan *p) {
        size_t n = p->n_steps;

        while (n > 0 && p->steps[n - 1].kind == STEP_PLUG)
                n--;
        return n;
}

static int run_steps(const Run *run, Error **e) {
        size_t n = first_plug(run->context->plan);

        for (size_t i = 0; i < n; i++) {
                int r = run_step(run, i, e);
                if (r < 0)
                        return r;
        }
        return journal_commit(run->journal, run->transaction, e);
}

/* Each controller that can be is plugged; the first error is told. */
static int run_plugs(const Run *run, Error **e) {
        const Plan *p = run->context->plan;
        _cleanup_error_ Error *cause = NULL;
        int worst = 0;

        for (size_t i = first_plug(p); i < p->n_steps; i++) {
                report(run, i, p->n_steps, "", &p->steps[i]);
                int r = execute(run->context, &p->steps[i], &cause);
                if (r < 0 && worst == 0)
                        worst = r;
        }
        if (worst == 0)
                return 0;
        return error_set_full(e, -worst, "not-plugged", cause ? cause->remedy : NULL,
                              "%s; it is assigned all the same, and guest %s has it when it is started the next time",
                              error_text(cause, worst), p->guest ? p->guest : "");
}

/* Undoes after `cause` and makes the error that tells both. */
static int fail(const Run *run, const Error *cause, int code, Error **e) {
        _cleanup_error_ Error *failure = NULL;
        _cleanup_free_ char *message = NULL;
        const char *text = error_text(cause, code);
        const char *separator;

        int r = undo_transaction(run, text, &message, &failure);
        separator = message ? "; " : "";
        if (r >= 0)
                return error_set_full(e, -code, cause ? cause->name : NULL, cause ? cause->remedy : NULL,
                                      "%s; everything done before was undone%s%s", text, separator,
                                      message ? message : "");
        return error_set_full(e, -code, "undo-failed", failure && failure->remedy ? failure->remedy : UNDO_REMEDY,
                              "%s; undoing it failed: %s%s%s", text, error_text(failure, r), separator,
                              message ? message : "");
}

int apply_run(StepContext *c, Journal *j, ApplyProgress progress, void *userdata, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = NULL;
        _cleanup_error_ Error *cause = NULL;

        int r = journal_begin(j, c->plan, c->host->boot_id, &t, e);
        if (r < 0)
                return r;
        Run run = { .context = c, .journal = j, .transaction = t, .progress = progress, .userdata = userdata };
        r = run_steps(&run, &cause);
        if (r < 0)
                r = fail(&run, cause, r, e);
        else
                r = run_plugs(&run, e);
        holds_release(c);
        return r;
}

int apply_plan(Journal *j, const Host *h, const Plan *p, ApplyProgress progress, ApplyCancelled cancelled, void *userdata,
               Error **e) {
        StepContext c = { .root = AT_FDCWD, .libvirt_uri = LIBVIRT_URI, .host = h, .plan = p, .cancelled = cancelled };

        return apply_run(&c, j, progress, userdata, e);
}

/* -- recovery ------------------------------------------------------------------------------------------------------ */

void recovery_clear(Recovery *r) {
        free(r->transaction);
        free(r->message);
        *r = (Recovery){};
}

/* Undoes the transaction; *message gets what was done. */
static int recover_transaction(const Run *run, char **message, Error **e) {
        const Plan *p = run->context->plan;

        int r = undo_transaction(run, "interrupted, undone by the recovery", message, e);
        if (r >= 0)
                tell(message, "an interrupted %s for guest %s was undone", plan_kind_to_string(p->kind), p->guest ? p->guest : "");
        return r;
}

int apply_recover_in(StepContext *c, Journal *j, Recovery *ret, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = NULL;
        _cleanup_error_ Error *failure = NULL;
        Recovery recovery = { .complete = true };

        int r = journal_open_transaction(j, &t, e);
        if (r < 0)
                return r;
        if (t) {
                Run run = { .context = c, .journal = j, .transaction = t };
                c->plan = t->plan;
                recovery.needed = true;
                recovery.transaction = strdup(t->id);
                r = recover_transaction(&run, &recovery.message, &failure);
                recovery.complete = r >= 0;
                if (r < 0)
                        tell(&recovery.message, "an interrupted %s for guest %s is not undone: %s. %s",
                             plan_kind_to_string(t->plan->kind), t->plan->guest ? t->plan->guest : "",
                             error_text(failure, r),
                             failure && failure->remedy ? failure->remedy : UNDO_REMEDY);
                c->plan = NULL;
        }
        *ret = recovery;
        return 0;
}

int apply_recover(Journal *j, Recovery *ret, Error **e) {
        StepContext c = { .root = AT_FDCWD, .libvirt_uri = LIBVIRT_URI };

        return apply_recover_in(&c, j, ret, e);
}
