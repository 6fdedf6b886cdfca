/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each check passes on a healthy machine and fails for its own reason, and for nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/check.h"
#include "support-plan.h"

/* -- one change that makes one check fail ------------------------------------------------------------------------------ */

static void no_units(Host *h) {
        free(h->iommu_units[0]);
        h->n_iommu_units = 0;
}

static void firmware_without_iommu(Host *h) {
        no_units(h);
        h->firmware_iommu = TRI_NO;
        h->firmware_table = NULL;
}

static void iommu_off(Host *h) {
        no_units(h);
        free(h->command_line);
        h->command_line = strdup("quiet amd_iommu=off ro");
}

static void no_vfio(Host *h) {
        h->vfio_pci = TRI_NO;
}

static void noiommu_parameter(Host *h) {
        h->vfio_noiommu = TRI_YES;
}

static IommuGroup *group_of_hba(Host *h) {
        return (IommuGroup *) host_find_group(h, machine_function(h, &hba)->group);
}

static void noiommu_group(Host *h) {
        group_of_hba(h)->noiommu = true;
}

static void add_use(Host *h, DiskUseKind kind, bool boot, const char *chain) {
        Disk *d = NULL;

        for (size_t i = 0; i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, &hba))
                        d = &h->disks[i];
        assert_non_null(d);
        d->uses = calloc(1, sizeof *d->uses);
        d->uses[0] = (DiskUse){ .kind = kind, .boot = boot, .chain = strdup(chain) };
        d->n_uses = 1;
}

static void named_in_fstab(Host *h) {
        add_use(h, DISK_USE_CONFIGURED, true, "sdb → /srv in /etc/fstab");
}

static void mounted(Host *h) {
        add_use(h, DISK_USE_MOUNT, false, "sdb → /srv");
}

static void held(Host *h) {
        add_use(h, DISK_USE_HOLDER, false, "sdb → md0");
}

static void opened(Host *h) {
        add_use(h, DISK_USE_EXCLUSIVE, false, "sdb → opened exclusively");
}

static void driven_by_a_program(Host *h) {
        PciFunction *f = machine_function(h, &hba);

        free(f->driver);
        f->driver = strdup("uio_pci_generic");
}

/* The last disk becomes another path to one of hba's. */
static void second_path(Host *h, const char *name, const char *wwn) {
        Disk *other = &h->disks[h->n_disks - 1];

        assert_false(pci_address_equal(&other->controller, &hba));
        for (size_t i = 0; i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, &hba)) {
                        h->disks[i].wwn = strdup("naa.6000");
                        break;
                }
        free(other->wwn);
        other->wwn = wwn ? strdup(wwn) : NULL;
        if (name) {
                free(other->name);
                other->name = strdup(name);
        }
}

static void dual_ported(Host *h) {
        second_path(h, NULL, "naa.6000");
}

static void multipath(Host *h) {
        second_path(h, "sda", NULL);
}

static void give(Host *h, const char *guest, bool managed) {
        Guest *g = machine_guest(h, guest);

        g->devices = calloc(1, sizeof *g->devices);
        g->devices[0] = (GuestDevice){ .address = hba, .managed = managed, .in_config = true };
        g->n_devices = 1;
}

static void others(Host *h) {
        give(h, "other", false);
}

static void managed_by_itself(Host *h) {
        give(h, "nas", true);
}

/* The port joins the group of the controller, as something else than a port. */
static void join_group(Host *h, uint32_t class, const char *driver) {
        PciFunction *f = &h->functions[0];
        IommuGroup *g = group_of_hba(h);

        f->class = class;
        f->header_type = 0;
        free(f->driver);
        f->driver = driver ? strdup(driver) : NULL;
        f->group = g->number;
        g->members = reallocarray(g->members, 2, sizeof *g->members);
        g->members[g->n_members++] = f->address;
        host_sort(h);
}

static void shared_with_network(Host *h) {
        join_group(h, 0x020000, "e1000e");
}

static void shared_with_unread(Host *h) {
        join_group(h, 0x020000, "vfio-pci");
        h->functions[0].address.domain = 0; /* the key stays sorted, the member is another one */
        group_of_hba(h)->members[0].function = 5;
        host_sort(h);
}

static void shared_with_smbus(Host *h) {
        join_group(h, 0x0c0500, NULL);
}

static void region(Host *h, RegionKind kind) {
        IommuGroup *g = group_of_hba(h);

        g->regions = calloc(1, sizeof *g->regions);
        g->regions[0] = (ReservedRegion){ 0xf0000, 0xfffff, kind };
        g->n_regions = 1;
}

static void direct_region(Host *h) {
        region(h, REGION_DIRECT);
}

static void functions_enabled(Host *h) {
        machine_function(h, &hba)->sriov_vfs = 4;
}

static void is_virtual(Host *h) {
        machine_function(h, &hba)->is_vf = true;
}

static const struct {
        const char *check;
        void (*change)(Host *h);
        const char *word; /* in the message or the evidence */
} cases[] = {
        { "iommu-enabled", no_units, "uses no IOMMU" },
        { "iommu-enabled", firmware_without_iommu, "firmware offers no IOMMU" },
        { "iommu-enabled", iommu_off, "amd_iommu=off" },
        { "vfio-available", no_vfio, "vfio-pci" },
        { "no-iommu-mode", noiommu_parameter, "no-IOMMU mode" },
        { "no-iommu-mode", noiommu_group, "group 20" },
        { "host-boot-path", named_in_fstab, "/srv in /etc/fstab" },
        { "host-disk-use", mounted, "sdb → /srv" },
        { "host-disk-use", held, "sdb → md0" },
        { "host-disk-use", opened, "opened exclusively" },
        { "host-disk-use", driven_by_a_program, "uio_pci_generic" },
        { "disk-shared-path", dual_ported, "0000:05:02.0" },
        { "disk-shared-path", multipath, "0000:05:02.0" },
        { "guest-conflict", others, "guest other" },
        { "guest-conflict", managed_by_itself, "managed='yes'" },
        { "group-isolated", shared_with_network, "e1000e" },
        { "group-isolated", shared_with_unread, "could not be read" },
        { "group-platform", shared_with_smbus, "SMBus" },
        { "reserved-region", direct_region, "RMRR" },
        { "sr-iov", functions_enabled, "4 SR-IOV virtual functions" },
        { "sr-iov", is_virtual, "is an SR-IOV virtual function" },
};

/* -- the tests --------------------------------------------------------------------------------------------------------- */

static void run(const Host *h, FindingList *l) {
        const CheckRequest q = { .controllers = &hba, .n_controllers = 1, .guest = "nas" };
        _cleanup_error_ Error *e = NULL;

        if (check_run(h, &q, l, &e) < 0)
                fail_msg("%s", e->message);
}

static void a_healthy_machine_passes(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        run(h, &l);
        assert_int_equal(l.n, n_checks);
        for (size_t i = 0; i < l.n; i++)
                if (l.items[i].verdict != VERDICT_PASS)
                        fail_msg("%s: %s", l.items[i].check, l.items[i].message);
}

/* What managed='yes' means is told by two checks: the guest has it already, and libvirt binds it. */
static bool is_also(size_t i, const Finding *f) {
        return cases[i].change == managed_by_itself && str_equal(f->check, "competing-binder");
}

static void each_fails_for_its_reason_alone(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                size_t failed = 0;
                cases[i].change(h);
                run(h, &l);
                for (size_t j = 0; j < l.n; j++) {
                        const Finding *f = &l.items[j];
                        if (f->verdict != VERDICT_FAIL || is_also(i, f))
                                continue;
                        failed++;
                        if (!str_equal(f->check, cases[i].check))
                                fail_msg("%s failed instead of %s: %s", f->check, cases[i].check, f->message);
                        if (!strstr(f->message, cases[i].word))
                                fail_msg("\"%s\" does not say \"%s\"", f->message, cases[i].word);
                        assert_non_null(f->remedy);
                        assert_true(f->n_evidence > 0);
                }
                if (failed != 1)
                        fail_msg("%zu findings failed for \"%s\"", failed, cases[i].word);
        }
}

/* test-check-pci.c */
static const char *const pci_checks[] = {
        "cpu-virtualization", "interrupt-remapping", "acs-override", "competing-binder", "reset-method", "interrupt-mode",
        "power-state", "hardware-quirk", "vmd-or-remapped", "driver-builtin", "twin-device", "pcie-link", "ecc-memory", "numa-local",
};

static void every_check_has_a_case(void **state) {
        (void) state;
        for (size_t i = 0; i < n_checks; i++) {
                bool found = strncmp(checks[i]->id, "guest-", 6) == 0 || /* test-guest-checks.c */
                             str_equal(checks[i]->id, "disk-data") || str_equal(checks[i]->id, "smart-health"); /* test-disk-use */
                for (size_t j = 0; j < ELEMENTSOF(pci_checks); j++)
                        found |= str_equal(pci_checks[j], checks[i]->id);
                for (size_t j = 0; j < ELEMENTSOF(cases); j++)
                        found |= str_equal(cases[j].check, checks[i]->id);
                if (!found)
                        fail_msg("no case makes %s fail", checks[i]->id);
                assert_ptr_equal(check_find(checks[i]->id), checks[i]);
        }
}

static void relaxable_regions_are_no_obstacle(void **state) {
        static const RegionKind kinds[] = { REGION_DIRECT_RELAXABLE, REGION_RESERVED, REGION_MSI, REGION_OTHER };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                region(h, kinds[i]);
                run(h, &l);
                assert_int_equal(finding_list_verdict(&l), VERDICT_PASS);
        }
}

static void only_acceptable_checks_are_accepted(void **state) {
        (void) state;
        for (size_t i = 0; i < n_checks; i++) {
                char *accept[] = { (char *) checks[i]->id };
                _cleanup_findings_ FindingList failed = {}, skipped = {};
                bool acceptable = checks[i]->kind == CHECK_ACCEPTABLE;
                assert_non_null(finding_add(&failed, checks[i]->id, checks[i]->kind, VERDICT_FAIL, NULL, "x"));
                assert_non_null(finding_add(&skipped, checks[i]->id, checks[i]->kind, VERDICT_SKIP, NULL, "x"));
                assert_false(check_allows(&failed, NULL, 0));
                assert_int_equal(check_allows(&failed, accept, 1), acceptable);
                assert_int_equal(check_allows(&skipped, accept, 1), acceptable);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_healthy_machine_passes),
                cmocka_unit_test(each_fails_for_its_reason_alone),
                cmocka_unit_test(every_check_has_a_case),
                cmocka_unit_test(relaxable_regions_are_no_obstacle),
                cmocka_unit_test(only_acceptable_checks_are_accepted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
