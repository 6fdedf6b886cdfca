/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apply/apply.h"
#include "support-plan.h"

/* How far a step got when the power went. */
typedef enum Reached { REACHED_START, REACHED_EFFECT, REACHED_DONE, _REACHED_MAX } Reached;

/* What the journal holds of an undo that was interrupted: each record, all but the last, or (full disk) none. */
typedef enum Records { RECORDS_ALL, RECORDS_BUT_LAST, RECORDS_NONE, _RECORDS_MAX } Records;

typedef Host *(*Maker)(void);

static const PciAddress twins[] = { { 0, 5, 1, 0 }, { 0, 5, 2, 0 } };

typedef struct Case {
        Maker host;
        PlanKind kind;
        const PciAddress *controllers;
        size_t n;
} Case;

static void carry_out(Host *h, PlanKind kind, const PciAddress *a, size_t n) {
        _cleanup_(plan_freep) Plan *p = plan_for(h, kind, "nas", a, n);

        machine_steps(h, p->steps, p->n_steps);
}

static Host *with_hba(void) {
        Host *h = machine_new();

        carry_out(h, PLAN_ASSIGN, &hba, 1);
        return h;
}

static Host *with_twins(void) {
        Host *h = machine_new();

        carry_out(h, PLAN_ASSIGN, twins, 2);
        return h;
}

static Host *with_twins_rebooted(void) {
        Host *h = with_twins();

        machine_reboot(h);
        return h;
}

/* The record has no driver: whatever the host has for it is to take it. */
static Host *with_hba_without_driver(void) {
        Host *h = machine_new();

        machine_set_driver(h, &hba, NULL);
        carry_out(h, PLAN_ASSIGN, &hba, 1);
        return h;
}

/* Another disk is there after the reboot: the record is replaced. */
static Host *with_other_disk(void) {
        Host *h = with_hba();

        machine_reboot(h);
        for (size_t i = 0; i < h->n_disks; i++)
                if (str_equal(h->disks[i].name, "sda"))
                        h->disks[i].serial[0] = 'X';
        return h;
}

static const Case cases[] = {
        { machine_new, PLAN_ASSIGN, &hba, 1 },          { machine_new, PLAN_ASSIGN, twins, 2 },
        { with_hba, PLAN_RELEASE, &hba, 1 },            { with_twins, PLAN_RELEASE, twins, 2 },
        { with_twins_rebooted, PLAN_ASSIGN, twins, 2 }, { with_twins_rebooted, PLAN_RELEASE, twins, 2 },
        { with_hba_without_driver, PLAN_RELEASE, &hba, 1 }, { with_other_disk, PLAN_ASSIGN, &hba, 1 },
};

/* -- helpers ----------------------------------------------------------------------------------------------------------- */

static Transaction *transaction_new(const Host *h, Plan *p) {
        Transaction *t = calloc(1, sizeof *t);

        assert_non_null(t);
        t->id = strdup("t");
        t->boot_id = strdup(h->boot_id);
        t->plan = p;
        t->progress = calloc(p->n_steps + 1, sizeof *t->progress);
        return t;
}

/* Carries out the plan up to step i. */
static void crash_at(Transaction *t, Host *h, size_t i, Reached reached) {
        for (size_t k = 0; k < i; k++)
                t->progress[k] = STEP_DONE;
        machine_steps(h, t->plan->steps, i);
        t->progress[i] = reached == REACHED_DONE ? STEP_DONE : STEP_STARTED;
        if (reached != REACHED_START)
                machine_step(h, &t->plan->steps[i]);
}

typedef struct Undo {
        Step *steps;
        size_t *origin, n;
        char *foreign;
} Undo;

static void undo_clear(Undo *u) {
        for (size_t i = 0; i < u->n; i++)
                step_clear(&u->steps[i]);
        free(u->steps);
        free(u->origin);
        free(u->foreign);
}

static Undo undo_of(const Transaction *t, const Host *h) {
        Undo u = {};

        assert_int_equal(recovery_steps(t, h, &u.steps, &u.origin, &u.n, &u.foreign, NULL), 0);
        return u;
}

static void assert_text(const Host *h, const char *expected) {
        _cleanup_free_ char *is = machine_text(h);

        assert_string_equal(is, expected);
}

/* -- every crash is undone --------------------------------------------------------------------------------------------- */

static void undo_all(const Transaction *t, Host *h, const char *original) {
        _cleanup_(undo_clear) Undo u = undo_of(t, h);

        if (u.foreign)
                fail_msg("foreign: %s", u.foreign);
        machine_steps(h, u.steps, u.n);
        assert_text(h, original);
}

/* Undoes k steps, leaves the records given, and starts again. How many steps the first undo had. */
static size_t undo_interrupted(const Case *c, size_t i, Reached reached, size_t k, Records records) {
        _cleanup_(host_freep) Host *h = c->host();
        _cleanup_free_ char *original = machine_text(h);
        _cleanup_(transaction_freep) Transaction *t =
                transaction_new(h, plan_for(h, c->kind, "nas", c->controllers, c->n));

        if (i >= t->plan->n_steps)
                return SIZE_MAX;
        crash_at(t, h, i, reached);
        _cleanup_(undo_clear) Undo u = undo_of(t, h);
        size_t n = k < u.n ? k : u.n;
        for (size_t s = 0; s < n; s++) {
                machine_step(h, &u.steps[s]);
                if (records == RECORDS_ALL || (records == RECORDS_BUT_LAST && s + 1 < n))
                        t->progress[u.origin[s]] = STEP_UNDONE;
        }
        undo_all(t, h, original);
        undo_all(t, h, original);
        return u.n;
}

static void every_crash_of_every_undo_is_undone(void **state) {
        size_t points = 0;

        (void) state;
        for (size_t c = 0; c < ELEMENTSOF(cases); c++)
                for (size_t i = 0; undo_interrupted(&cases[c], i, REACHED_START, 0, RECORDS_ALL) != SIZE_MAX; i++)
                        for (Reached reached = 0; reached < _REACHED_MAX; reached++)
                                for (Records records = 0; records < _RECORDS_MAX; records++)
                                        for (size_t k = 0; k <= undo_interrupted(&cases[c], i, reached, k, records); k++)
                                                points++;
        assert_true(points > 500);
}

static void undone_steps_are_not_undone_again(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", &hba, 1));

        (void) state;
        crash_at(t, h, t->plan->n_steps - 1, REACHED_DONE);
        for (size_t i = 0; i < t->plan->n_steps; i++)
                t->progress[i] = STEP_UNDONE;
        _cleanup_(undo_clear) Undo u = undo_of(t, h);
        assert_int_equal(u.n, 0);
}

static void the_reverse_is_exact(void **state) {
        static const char *const expected[] = {
                "detach 0000:03:00.0 from the definition of guest nas", "remove the record of the assignment of 0000:03:00.0",
                "unbind 0000:03:00.0 from vfio-pci", "clear the driver override vfio-pci of 0000:03:00.0",
                "bind 0000:03:00.0 to ahci",
        };
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", &hba, 1));

        (void) state;
        crash_at(t, h, t->plan->n_steps - 1, REACHED_DONE);
        _cleanup_(undo_clear) Undo u = undo_of(t, h);
        assert_int_equal(u.n, ELEMENTSOF(expected));
        for (size_t i = 0; i < u.n; i++) {
                _cleanup_free_ char *text = step_describe(&u.steps[i]);
                assert_string_equal(text, expected[i]);
                assert_true(i == 0 || u.origin[i] < u.origin[i - 1]);
        }
}

/* A plan that set the override before it unbound is undone as well. */
static void a_bind_waits_for_the_override(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_free_ char *original = machine_text(h);
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", twins, 2));

        (void) state;
        for (size_t i = 0; i + 2 < t->plan->n_steps; i++)
                if (t->plan->steps[i].kind == STEP_UNBIND && t->plan->steps[i + 2].kind == STEP_OVERRIDE) {
                        Step s = t->plan->steps[i];
                        t->plan->steps[i] = t->plan->steps[i + 2];
                        t->plan->steps[i + 2] = s;
                }
        assert_int_equal(t->plan->steps[4].kind, STEP_OVERRIDE);
        crash_at(t, h, t->plan->n_steps - 1, REACHED_DONE);
        undo_all(t, h, original);
}

/* -- another boot ------------------------------------------------------------------------------------------------------ */

static void a_reboot_voids_what_was_in_the_kernel(void **state) {
        (void) state;
        for (size_t c = 0; c < ELEMENTSOF(cases); c++) {
                _cleanup_(host_freep) Host *h = cases[c].host(), *expected = cases[c].host();
                _cleanup_free_ char *original = (machine_reboot(expected), machine_text(expected));
                _cleanup_(transaction_freep) Transaction *t =
                        transaction_new(h, plan_for(h, cases[c].kind, "nas", cases[c].controllers, cases[c].n));

                crash_at(t, h, t->plan->n_steps - 1, REACHED_DONE);
                machine_reboot(h);
                free(t->boot_id);
                t->boot_id = strdup("boot-0");
                _cleanup_(undo_clear) Undo u = undo_of(t, h);
                for (size_t i = 0; i < u.n; i++)
                        assert_false(step_is_volatile(&u.steps[i]));
                assert_null(u.foreign);
                machine_steps(h, u.steps, u.n);
                assert_text(h, original);
        }
}

/* -- what is somebody else's ------------------------------------------------------------------------------------------- */

static Undo undo_after(Transaction *t, Host *h, size_t i) {
        t->progress[i] = STEP_STARTED;
        return undo_of(t, h);
}

static size_t find_step(const Plan *p, StepKind kind) {
        for (size_t i = 0; i < p->n_steps; i++)
                if (p->steps[i].kind == kind)
                        return i;
        fail_msg("no step %s", step_kind_to_string(kind));
        return 0;
}

static void assert_left_alone(const Undo *u, StepKind kind, const char *word) {
        for (size_t i = 0; i < u->n; i++)
                assert_int_not_equal(u->steps[i].kind, kind);
        assert_non_null(u->foreign);
        if (!strstr(u->foreign, word))
                fail_msg("\"%s\" does not say \"%s\"", u->foreign, word);
}

static void foreign_state_is_named_and_left_alone(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", &hba, 1));

        (void) state;
        crash_at(t, h, t->plan->n_steps - 1, REACHED_DONE);
        machine_set_driver(h, &hba, "nouveau");
        free(machine_function(h, &hba)->driver_override);
        machine_function(h, &hba)->driver_override = strdup("nouveau");
        free(h->assigned[0].guest);
        h->assigned[0].guest = strdup("somebody");
        free(machine_guest(h, "nas")->devices[0].alias);
        machine_guest(h, "nas")->devices[0].alias = NULL;
        _cleanup_(undo_clear) Undo u = undo_of(t, h);
        assert_left_alone(&u, STEP_UNBIND, "0000:03:00.0 is bound to nouveau");
        assert_left_alone(&u, STEP_OVERRIDE, "override of 0000:03:00.0 is nouveau");
        assert_left_alone(&u, STEP_UNSTORE, "record of 0000:03:00.0");
        assert_left_alone(&u, STEP_DETACH, "guest nas");
        assert_int_equal(u.n, 0);
        /* Once, though the bind and the unbind both see it. */
        assert_null(strstr(strstr(u.foreign, "bound to") + 1, "bound to"));
}

static void a_controller_that_is_gone_is_named(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", &hba, 1));

        (void) state;
        machine_function(h, &hba)->address.bus = 4;
        _cleanup_(undo_clear) Undo u = undo_after(t, h, find_step(t->plan, STEP_UNBIND));
        assert_left_alone(&u, STEP_BIND, "nothing is at 0000:03:00.0");
}

static void holds_and_checks_leave_nothing(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(transaction_freep) Transaction *t = transaction_new(h, plan_for(h, PLAN_ASSIGN, "nas", &hba, 1));

        (void) state;
        t->progress[find_step(t->plan, STEP_HOLD)] = STEP_DONE;
        t->progress[find_step(t->plan, STEP_FLUSH)] = STEP_DONE;
        _cleanup_(undo_clear) Undo u = undo_after(t, h, find_step(t->plan, STEP_VERIFY));
        assert_int_equal(u.n, 0);
        assert_null(u.foreign);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_crash_of_every_undo_is_undone),
                cmocka_unit_test(undone_steps_are_not_undone_again),
                cmocka_unit_test(the_reverse_is_exact),
                cmocka_unit_test(a_bind_waits_for_the_override),
                cmocka_unit_test(a_reboot_voids_what_was_in_the_kernel),
                cmocka_unit_test(foreign_state_is_named_and_left_alone),
                cmocka_unit_test(a_controller_that_is_gone_is_named),
                cmocka_unit_test(holds_and_checks_leave_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
