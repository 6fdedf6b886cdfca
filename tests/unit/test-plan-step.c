/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single steps: undone, seen in a Host, and as JSON that anybody may have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support-plan.h"

static Step make(StepKind kind, const char *subject, const char *before, const char *after) {
        return (Step){
                .kind = kind, .subject = (char *) subject, .before = (char *) before, .after = (char *) after, .address = hba,
        };
}

#define ADDRESS "0000:03:00.0"

/* -- inversion --------------------------------------------------------------------------------------------------------- */

static void inverses_undo(void **state) {
        static const struct {
                StepKind kind, inverse;
                const char *before, *after;
        } cases[] = {
                { STEP_OVERRIDE, STEP_OVERRIDE, NULL, "vfio-pci" }, { STEP_OVERRIDE, STEP_OVERRIDE, "a", "b" },
                { STEP_UNBIND, STEP_BIND, "ahci", NULL },           { STEP_BIND, STEP_UNBIND, NULL, "vfio-pci" },
                { STEP_STORE, STEP_UNSTORE, NULL, "{}" },           { STEP_STORE, STEP_STORE, "{}", "[]" },
                { STEP_UNSTORE, STEP_STORE, "{}", NULL },           { STEP_ATTACH, STEP_DETACH, NULL, ADDRESS },
                { STEP_DETACH, STEP_ATTACH, ADDRESS, NULL },
                { STEP_PLUG, STEP_UNPLUG, NULL, ADDRESS },         { STEP_UNPLUG, STEP_PLUG, ADDRESS, NULL },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Step s = make(cases[i].kind, ADDRESS, cases[i].before, cases[i].after);
                _cleanup_(step_clear) Step inverse = {}, back = {};
                assert_true(step_invert(&s, &inverse));
                assert_int_equal(inverse.kind, cases[i].inverse);
                assert_true(str_equal(inverse.before, s.after) && str_equal(inverse.after, s.before));
                assert_true(step_invert(&inverse, &back));
                assert_int_equal(back.kind, s.kind);
                assert_true(str_equal(back.before, s.before) && str_equal(back.after, s.after));
                assert_true(pci_address_equal(&back.address, &s.address));
                assert_string_equal(back.subject, s.subject);
        }
}

static void some_steps_leave_nothing_to_undo(void **state) {
        static const StepKind kinds[] = { STEP_HOLD, STEP_FLUSH, STEP_VERIFY };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                const Step s = make(kinds[i], "x", NULL, NULL);
                Step inverse;
                assert_false(step_invert(&s, &inverse));
        }
}

static void only_records_and_definitions_outlive_a_boot(void **state) {
        (void) state;
        for (StepKind k = 0; k < _STEP_KIND_MAX; k++) {
                const Step s = make(k, "x", NULL, NULL);
                bool lasts = k == STEP_STORE || k == STEP_UNSTORE || k == STEP_ATTACH || k == STEP_DETACH;
                assert_int_equal(step_is_volatile(&s), !lasts);
        }
}

/* -- states ------------------------------------------------------------------------------------------------------------ */

static void driver_steps_are_seen(void **state) {
        static const struct {
                StepKind kind;
                const char *before, *after, *driver;
                StepState expected;
        } cases[] = {
                { STEP_UNBIND, "ahci", NULL, "ahci", STEP_AT_BEFORE },
                { STEP_UNBIND, "ahci", NULL, NULL, STEP_AT_AFTER },
                { STEP_UNBIND, "ahci", NULL, "vfio-pci", STEP_AT_NEITHER },
                { STEP_BIND, NULL, "vfio-pci", NULL, STEP_AT_BEFORE },
                { STEP_BIND, NULL, "vfio-pci", "vfio-pci", STEP_AT_AFTER },
                { STEP_BIND, NULL, "vfio-pci", "ahci", STEP_AT_NEITHER },
                { STEP_BIND, NULL, "", NULL, STEP_AT_BEFORE },
                { STEP_BIND, NULL, "", "ahci", STEP_AT_AFTER },
                { STEP_BIND, NULL, "", "vfio-pci", STEP_AT_NEITHER },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                const Step s = make(cases[i].kind, ADDRESS, cases[i].before, cases[i].after);
                machine_set_driver(h, &hba, cases[i].driver);
                assert_int_equal(step_state(&s, h), cases[i].expected);
                machine_function(h, &hba)->address.bus = 4;
                assert_int_equal(step_state(&s, h), STEP_AT_NEITHER);
        }
}

static void overrides_are_seen(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        const Step set = make(STEP_OVERRIDE, ADDRESS, NULL, "vfio-pci"), other = make(STEP_OVERRIDE, ADDRESS, "a", "b");

        (void) state;
        assert_int_equal(step_state(&set, h), STEP_AT_BEFORE);
        assert_int_equal(step_state(&other, h), STEP_AT_NEITHER);
        machine_step(h, &set);
        assert_int_equal(step_state(&set, h), STEP_AT_AFTER);
}

static void records_are_seen(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        const Step *store = NULL;

        (void) state;
        for (size_t i = 0; i < p->n_steps; i++)
                if (p->steps[i].kind == STEP_STORE)
                        store = &p->steps[i];
        assert_non_null(store);
        _cleanup_(step_clear) Step unstore = {};
        assert_true(step_invert(store, &unstore));
        assert_int_equal(step_state(store, h), STEP_AT_BEFORE);
        assert_int_equal(step_state(&unstore, h), STEP_AT_AFTER);
        machine_step(h, store);
        assert_int_equal(step_state(store, h), STEP_AT_AFTER);
        assert_int_equal(step_state(&unstore, h), STEP_AT_BEFORE);
        h->assigned[0].revision++;
        assert_int_equal(step_state(store, h), STEP_AT_NEITHER);
        assert_int_equal(step_state(&unstore, h), STEP_AT_NEITHER);
}

static void definitions_are_seen(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        const Step attach = make(STEP_ATTACH, "nas", NULL, ADDRESS), detach = make(STEP_DETACH, "nas", ADDRESS, NULL);

        (void) state;
        assert_int_equal(step_state(&attach, h), STEP_AT_BEFORE);
        assert_int_equal(step_state(&detach, h), STEP_AT_AFTER);
        machine_step(h, &attach);
        assert_int_equal(step_state(&attach, h), STEP_AT_AFTER);
        assert_int_equal(step_state(&detach, h), STEP_AT_BEFORE);
        machine_guest(h, "nas")->devices[0].in_config = false; /* plugged in live only */
        assert_int_equal(step_state(&attach, h), STEP_AT_BEFORE);
        machine_guest(h, "nas")->devices[0].in_config = true;
        free(machine_guest(h, "nas")->devices[0].alias);
        machine_guest(h, "nas")->devices[0].alias = strdup("hostdev0");
        assert_int_equal(step_state(&attach, h), STEP_AT_NEITHER);
        assert_int_equal(step_state(&detach, h), STEP_AT_NEITHER);
        h->guests_known = false;
        assert_int_equal(step_state(&attach, h), STEP_AT_NEITHER);
}

/* -- JSON -------------------------------------------------------------------------------------------------------------- */

static void assert_plan_round_trip(const Plan *p) {
        _cleanup_json_ json_t *j = plan_to_json(p), *again = NULL;
        _cleanup_(plan_freep) Plan *back = NULL;
        _cleanup_error_ Error *e = NULL;

        assert_non_null(j);
        if (plan_from_json(j, &back, &e) < 0)
                fail_msg("%s", e->message);
        again = plan_to_json(back);
        assert_true(json_equal(j, again));
}

static void plans_survive_json(void **state) {
        static const PciAddress twins[] = { { 0, 5, 1, 0 }, { 0, 5, 2, 0 } };
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *assign = plan_for(h, PLAN_ASSIGN, "nas", twins, 2);

        (void) state;
        assert_plan_round_trip(assign);
        machine_steps(h, assign->steps, assign->n_steps);
        _cleanup_(plan_freep) Plan *release = plan_for(h, PLAN_RELEASE, "nas", NULL, 0);
        assert_plan_round_trip(release);
}

static void steps_show_what_undoes_them(void **state) {
        const Step unbind = make(STEP_UNBIND, ADDRESS, "ahci", NULL), verify = make(STEP_VERIFY, "0", NULL, NULL);
        _cleanup_json_ json_t *a = step_to_json(&unbind), *b = step_to_json(&verify);

        (void) state;
        assert_string_equal(json_string_value(json_object_get(a, "kind")), "unbind");
        assert_string_equal(json_string_value(json_object_get(a, "subject")), ADDRESS);
        assert_string_equal(json_string_value(json_object_get(a, "before")), "ahci");
        assert_true(json_is_null(json_object_get(a, "after")));
        assert_string_equal(json_string_value(json_object_get(a, "undo")), "bind 0000:03:00.0 to ahci");
        assert_true(json_is_null(json_object_get(b, "undo")));
}

/* One change of a good step each. */
static void hostile_steps_are_refused(void **state) {
        static const struct {
                const char *base, *key, *value; /* value NULL: the key is missing */
        } cases[] = {
                { "unbind", "kind", "\"format\"" },       { "unbind", "kind", "3" },
                { "unbind", "kind", NULL },               { "unbind", "subject", "\"0000:04:00.0\"" },
                { "unbind", "subject", NULL },            { "unbind", "before", "null" },
                { "unbind", "before", "\"../../etc\"" },  { "unbind", "before", "\"..\"" },
                { "unbind", "before", "\"a\\nb\"" },      { "unbind", "before", "\"\"" },
                { "unbind", "before", "\"a\\u0000b\"" },  { "unbind", "before", "[]" },
                { "unbind", "after", "\"vfio-pci\"" },    { "unbind", "after", NULL },
                { "unbind", "address", "\"03:00.0\"" },   { "unbind", "address", "{}" },
                { "unbind", "address", NULL },            { "unbind", "group", "-2" },
                { "unbind", "group", "4294967296" },      { "unbind", "group", "1.5" },
                { "unbind", "group", NULL },              { "unbind", "more", "1" },
                { "unbind", "disk", NULL },               { "bind", "after", "null" },
                { "bind", "after", "\"x/y\"" },           { "bind", "before", "\"ahci\"" },
                { "hold", "disk", "null" },               { "hold", "disk", "\"../sda\"" },
                { "hold", "subject", "\"a\\u0007\"" },    { "hold", "subject", "\"\"" },
                { "override", "after", "null" },          { "override", "after", "\"a/b\"" },
                { "verify", "subject", "\"1\"" },         { "verify", "group", "-1" },
                { "store", "after", "null" },             { "unstore", "before", "null" },
                { "attach", "subject", "\"\"" },          { "attach", "after", "null" },
                { "detach", "before", "null" },           { "detach", "subject", "\"a\\u001bb\"" },
        };

        (void) state;
        const Step good[] = {
                make(STEP_UNBIND, ADDRESS, "ahci", NULL), make(STEP_BIND, ADDRESS, NULL, "vfio-pci"),
                make(STEP_HOLD, "SERIAL", NULL, NULL),    make(STEP_OVERRIDE, ADDRESS, NULL, "vfio-pci"),
                make(STEP_VERIFY, "0", NULL, NULL),       make(STEP_STORE, ADDRESS, NULL, "{}"),
                make(STEP_UNSTORE, ADDRESS, "{}", NULL),  make(STEP_ATTACH, "nas", NULL, ADDRESS),
                make(STEP_DETACH, "nas", ADDRESS, NULL),  make(STEP_PLUG, "nas", NULL, ADDRESS),
                make(STEP_UNPLUG, "nas", ADDRESS, NULL),
        };
        for (size_t g = 0; g < ELEMENTSOF(good); g++) {
                Step s = good[g];
                s.disk = s.kind == STEP_HOLD ? (char *) "sda" : NULL;
                for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                        if (!str_equal(cases[i].base, step_kind_to_string(s.kind)))
                                continue;
                        _cleanup_json_ json_t *j = step_to_json(&s);
                        _cleanup_(step_clear) Step read = {};
                        assert_int_equal(step_from_json(j, &read, NULL), 0);
                        if (cases[i].value)
                                json_object_set_new(j, cases[i].key,
                                                    json_loads(cases[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
                        else
                                assert_int_equal(json_object_del(j, cases[i].key), 0);
                        _cleanup_error_ Error *e = NULL;
                        _cleanup_(step_clear) Step bad = {};
                        if (step_from_json(j, &bad, &e) >= 0)
                                fail_msg("%s with %s = %s was taken", cases[i].base, cases[i].key, cases[i].value);
                        assert_non_null(e);
                }
        }
        assert_true(step_from_json(NULL, &(Step){}, NULL) < 0);
}

static void a_changed_plan_is_refused(void **state) {
        static const char *const keys[] = { "kind", "guest", "controllers", "steps", "notes", "digest" };
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_json_ json_t *j = plan_to_json(p);
                _cleanup_(plan_freep) Plan *back = NULL;
                json_object_set_new(j, keys[i], json_integer(1));
                assert_true(plan_from_json(j, &back, NULL) < 0);
        }
        _cleanup_json_ json_t *j = plan_to_json(p);
        _cleanup_(plan_freep) Plan *back = NULL;
        json_array_remove(json_object_get(j, "steps"), 0);
        assert_true(plan_from_json(j, &back, NULL) < 0);
}

static void requests_survive_json(void **state) {
        char *accept[] = { (char *) "twin-device" };
        const PlanRequest q = {
                .kind = PLAN_ASSIGN, .controllers = (PciAddress *) &hba, .n_controllers = 1, .guest = (char *) "nas",
                .accept = accept, .n_accept = 1, .no_attach = true,
        };
        _cleanup_json_ json_t *j = plan_request_to_json(&q), *again = NULL;
        _cleanup_(plan_request_clear) PlanRequest back = {};

        (void) state;
        assert_int_equal(plan_request_from_json(j, &back, NULL), 0);
        again = plan_request_to_json(&back);
        assert_true(json_equal(j, again));
        static const char *const changes[][2] = {
                { "kind", "\"steal\"" }, { "controllers", "[\"x\"]" }, { "controllers", "{}" }, { "guest", "1" },
                { "guest", "\"\"" },     { "guest", "\"a\\nb\"" },     { "accept", "[1]" },     { "accept", "\"x\"" },
                { "no_attach", "1" },    { "force_unplug", "null" },   { "more", "1" },
        };
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_json_ json_t *bad = json_deep_copy(j);
                _cleanup_(plan_request_clear) PlanRequest read = {};
                json_object_set_new(bad, changes[i][0], json_loads(changes[i][1], JSON_DECODE_ANY, NULL));
                if (plan_request_from_json(bad, &read, NULL) >= 0)
                        fail_msg("%s = %s was taken", changes[i][0], changes[i][1]);
        }
}

/* -- digest ------------------------------------------------------------------------------------------------------------ */

static void assert_digest_differs(const Plan *p, const char *digest) {
        _cleanup_free_ char *now = plan_digest(p);

        assert_string_not_equal(now, digest);
}

static void the_digest_tells_plans_apart(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        _cleanup_(plan_freep) Plan *same = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        _cleanup_free_ char *digest = plan_digest(p), *again = plan_digest(same);

        (void) state;
        assert_string_equal(digest, again);
        assert_int_equal(strlen(digest), 16);
        p->kind = PLAN_RELEASE;
        assert_digest_differs(p, digest);
        p->kind = PLAN_ASSIGN;
        p->steps[4].before[0] = 'x';
        assert_digest_differs(p, digest);
        p->steps[4].before[0] = 'a';
        p->guest[0] = 'x';
        assert_digest_differs(p, digest);
        p->guest[0] = 'n';
        p->controllers[0].bus++;
        assert_digest_differs(p, digest);
        p->controllers[0].bus--;
        p->steps[7].group++;
        assert_digest_differs(p, digest);
        p->steps[7].group--;
        step_clear(&p->steps[--p->n_steps]);
        assert_digest_differs(p, digest);
        /* Where one string ends counts, and none is not empty. */
        Step *s = &p->steps[5];
        assert_null(s->before);
        _cleanup_free_ char *none = plan_digest(p);
        s->before = strdup("");
        assert_digest_differs(p, none);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(inverses_undo),
                cmocka_unit_test(some_steps_leave_nothing_to_undo),
                cmocka_unit_test(only_records_and_definitions_outlive_a_boot),
                cmocka_unit_test(driver_steps_are_seen),
                cmocka_unit_test(overrides_are_seen),
                cmocka_unit_test(records_are_seen),
                cmocka_unit_test(definitions_are_seen),
                cmocka_unit_test(plans_survive_json),
                cmocka_unit_test(steps_show_what_undoes_them),
                cmocka_unit_test(hostile_steps_are_refused),
                cmocka_unit_test(a_changed_plan_is_refused),
                cmocka_unit_test(requests_survive_json),
                cmocka_unit_test(the_digest_tells_plans_apart),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
