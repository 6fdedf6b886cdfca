/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/controller.h"
#include "model/finding.h"

static const PciAddress hba = { 0, 3, 0, 0 }, twin = { 0, 3, 0, 1 }, lpc = { 0, 0, 0x1f, 0 };

static void function_init(PciFunction *f, const PciAddress *a, uint32_t class, const char *driver, int group) {
        *f = (PciFunction) { .address = *a, .vendor = 0x8086, .device = 0x2922, .class = class, .group = group };
        f->driver = driver ? strdup(driver) : NULL;
        f->port_path = strdup("0000:00/02.0/00.0");
}

/* Three functions of one group; the third has the driver given. */
static Host *host_make(const char *third_driver) {
        Host *h = host_new();

        assert_non_null(h);
        h->functions = calloc(3, sizeof *h->functions);
        h->n_functions = 3;
        function_init(&h->functions[0], &hba, 0x010601, "ahci", 137);
        function_init(&h->functions[1], &twin, 0x010601, NULL, 137);
        function_init(&h->functions[2], &lpc, 0x060100, third_driver, 137);
        h->groups = calloc(1, sizeof *h->groups);
        h->n_groups = 1;
        h->groups[0].number = 137;
        h->groups[0].members = calloc(3, sizeof(PciAddress));
        h->groups[0].n_members = 3;
        h->groups[0].members[0] = hba;
        h->groups[0].members[1] = twin;
        h->groups[0].members[2] = lpc;
        host_sort(h);
        return h;
}

static void set_driver(Host *h, const PciAddress *a, const char *driver) {
        PciFunction *f = (PciFunction *) host_find_function(h, a);

        free(f->driver);
        f->driver = strdup(driver);
}

static void record(Host *h, const char *guest) {
        h->assigned = calloc(1, sizeof *h->assigned);
        h->n_assigned = 1;
        assert_int_equal(assigned_from_host(h, host_find_function(h, &hba), guest, &h->assigned[0]), 0);
}

static void isolation_follows_the_kernels_rule(void **state) {
        static const struct {
                const char *driver;
                Tri isolated;
        } cases[] = {
                { NULL, TRI_YES },       { "vfio-pci", TRI_YES }, { "pci-stub", TRI_YES },
                { "pcieport", TRI_YES }, { "lpc_ich", TRI_NO },   { "mlx5-vfio-pci", TRI_YES },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = host_make(cases[i].driver);
                assert_int_equal(host_group_isolated(h, host_find_function(h, &hba), NULL, 0), cases[i].isolated);
        }
        _cleanup_(host_freep) Host *h = host_make("lpc_ich");
        assert_int_equal(host_group_isolated(h, host_find_function(h, &hba), &lpc, 1), TRI_YES);
        /* A member that could not be read may be anything. */
        set_driver(h, &lpc, "vfio-pci");
        ((PciFunction *) host_find_function(h, &lpc))->address.function = 7;
        assert_int_equal(host_group_isolated(h, host_find_function(h, &hba), NULL, 0), TRI_UNKNOWN);
        ((PciFunction *) host_find_function(h, &hba))->group = -1;
        assert_int_equal(host_group_isolated(h, host_find_function(h, &hba), NULL, 0), TRI_UNKNOWN);
}

static void state_of(Host *h, ControllerState expected) {
        assert_int_equal(host_controller_state(h, host_find_function(h, &hba), host_find_assigned(h, &hba)), expected);
}

static void states_tell_whose_a_controller_is(void **state) {
        _cleanup_(host_freep) Host *h = host_make(NULL);

        (void) state;
        state_of(h, CONTROLLER_HOST);
        set_driver(h, &hba, "vfio-pci");
        state_of(h, CONTROLLER_FOREIGN);
        record(h, "freenas");
        state_of(h, CONTROLLER_RESERVED);
        h->guests = calloc(1, sizeof *h->guests);
        h->n_guests = 1;
        h->guests[0].name = strdup("freenas");
        h->guests[0].devices = calloc(1, sizeof(GuestDevice));
        h->guests[0].n_devices = 1;
        h->guests[0].devices[0] = (GuestDevice) { .address = hba, .in_config = true };
        state_of(h, CONTROLLER_ATTACHED);
        h->guests[0].state = GUEST_RUNNING;
        state_of(h, CONTROLLER_ATTACHED);
        h->guests[0].devices[0].in_live = true;
        state_of(h, CONTROLLER_RUNNING);
        set_driver(h, &hba, "ahci");
        state_of(h, CONTROLLER_FAILED);
        ((PciFunction *) host_find_function(h, &hba))->device = 0x1234;
        state_of(h, CONTROLLER_MISMATCH);
        assert_int_equal(host_controller_state(h, NULL, &h->assigned[0]), CONTROLLER_MISSING);
}

static void mismatch(void (*change)(Host *, PciFunction *), const char *word) {
        _cleanup_(host_freep) Host *h = host_make(NULL);
        _cleanup_free_ char *why = NULL;

        record(h, "freenas");
        PciFunction *f = (PciFunction *) host_find_function(h, &hba);
        assert_true(assigned_matches(&h->assigned[0], h, f, NULL));
        change(h, f);
        assert_false(assigned_matches(&h->assigned[0], h, f, &why));
        assert_non_null(strstr(why, word));
}

static void other_path(Host *h, PciFunction *f) {
        (void) h;
        free(f->port_path);
        f->port_path = strdup("0000:00/03.0/00.0");
}

static void other_ids(Host *h, PciFunction *f) {
        (void) h;
        f->device++;
}

static void other_subsystem(Host *h, PciFunction *f) {
        (void) h;
        f->subsystem_device++;
}

static void other_revision(Host *h, PciFunction *f) {
        (void) h;
        f->revision++;
}

static void other_serial(Host *h, PciFunction *f) {
        (void) h;
        f->has_serial = true;
        f->serial = 7;
}

static void other_group(Host *h, PciFunction *f) {
        (void) f;
        h->groups[0].n_members--;
}

static void identity_notices_every_difference(void **state) {
        (void) state;
        mismatch(other_path, "port path");
        mismatch(other_ids, "ids");
        mismatch(other_subsystem, "subsystem");
        mismatch(other_revision, "revision");
        mismatch(other_serial, "serial");
        mismatch(other_group, "group");
}

static void a_record_survives_its_json(void **state) {
        _cleanup_(host_freep) Host *h = host_make(NULL);
        _cleanup_error_ Error *e = NULL;
        Assigned back;

        (void) state;
        PciFunction *f = (PciFunction *) host_find_function(h, &hba);
        f->has_serial = true;
        f->serial = 0xfedcba9876543210;
        record(h, "freenas");
        _cleanup_json_ json_t *j = assigned_to_json(&h->assigned[0]);
        assert_non_null(j);
        assert_int_equal(assigned_from_json(j, &back, &e), 0);
        assert_true(assigned_matches(&back, h, f, NULL));
        assert_string_equal(back.guest, "freenas");
        assert_string_equal(back.host_driver, "ahci");
        assigned_clear(&back);
}

static void bad_records_are_refused(void **state) {
        static const char *const cases[] = {
                "{}",
                "[]",
                "{\"version\":1}",
                "{\"version\":2,\"address\":\"0000:03:00.0\",\"guest\":\"g\"}",
                "{\"version\":1,\"address\":\"03:00.0\",\"guest\":\"g\"}",
                "{\"version\":1,\"address\":\"0000:03:00.0\",\"guest\":\"\"}",
                "{\"version\":1,\"address\":\"0000:03:00.0\",\"guest\":\"g\",\"vendor\":32902}",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *j = json_loads(cases[i], 0, NULL);
                _cleanup_error_ Error *e = NULL;
                Assigned a;
                assert_non_null(j);
                assert_true(assigned_from_json(j, &a, &e) < 0);
                assert_non_null(e);
        }
}

static void list_has_the_fixed_keys(void **state) {
        static const char *const keys[] = { "address", "kind",    "class",    "vendor", "device", "model", "driver",
                                            "iommu_group", "members", "isolated", "disks",  "state",  "guest" };
        _cleanup_(host_freep) Host *h = host_make("lpc_ich");

        (void) state;
        _cleanup_json_ json_t *list = host_list_to_json(h);
        assert_int_equal(json_array_size(list), 2);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                assert_non_null(json_object_get(json_array_get(list, 0), keys[i]));
        assert_true(json_is_false(json_object_get(json_array_get(list, 0), "isolated")));
        assert_true(json_is_null(json_object_get(json_array_get(list, 0), "guest")));
        _cleanup_json_ json_t *show = controller_show_to_json(h, host_find_function(h, &hba));
        assert_int_equal(json_array_size(json_object_get(show, "group")), 3);
}

static void the_worst_finding_decides(void **state) {
        _cleanup_findings_ FindingList l = {};

        (void) state;
        assert_int_equal(finding_list_verdict(&l), VERDICT_PASS);
        assert_non_null(finding_add(&l, "a", CHECK_HARD, VERDICT_SKIP, NULL, "not known"));
        assert_int_equal(finding_list_verdict(&l), VERDICT_PASS);
        Finding *f = finding_add(&l, "b", CHECK_HARD, VERDICT_FAIL, "0000:03:00.0", "%s is in use", "sda");
        assert_int_equal(finding_evidence(f, "sda1 on %s", "/srv"), 0);
        assert_int_equal(finding_remedy(f, "Unmount it."), 0);
        assert_non_null(finding_add(&l, "c", CHECK_ACCEPTABLE, VERDICT_WARN, NULL, "hm"));
        assert_int_equal(finding_list_verdict(&l), VERDICT_FAIL);
        _cleanup_json_ json_t *j = finding_list_to_json(&l);
        assert_string_equal(json_string_value(json_object_get(j, "verdict")), "fail");
        const json_t *second = json_array_get(json_object_get(j, "findings"), 1);
        assert_string_equal(json_string_value(json_object_get(second, "subject")), "0000:03:00.0");
        assert_string_equal(json_string_value(json_object_get(second, "remedy")), "Unmount it.");
        for (int v = 0; v < (int) _VERDICT_MAX; v++)
                assert_int_equal(verdict_from_string(verdict_to_string((Verdict) v)), v);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(isolation_follows_the_kernels_rule),
                cmocka_unit_test(states_tell_whose_a_controller_is),
                cmocka_unit_test(identity_notices_every_difference),
                cmocka_unit_test(a_record_survives_its_json),
                cmocka_unit_test(bad_records_are_refused),
                cmocka_unit_test(list_has_the_fixed_keys),
                cmocka_unit_test(the_worst_finding_decides),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
