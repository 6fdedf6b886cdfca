/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each check of the guest passes on a healthy machine, and else says what it is to say, and no other says anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/check.h"
#include "support-plan.h"

#define GIB (UINT64_C(1) << 30)

static Guest *nas(Host *h) {
        return machine_guest(h, "nas");
}

static void set(char **field, const char *value) {
        free(*field);
        *field = value ? strdup(value) : NULL;
}

/* -- machine and ports --------------------------------------------------------------------------------------------------- */

static void i440fx(Host *h) {
        set(&nas(h)->machine, "pc-i440fx-7.2");
}

static void old_i440fx(Host *h) {
        set(&nas(h)->machine, "pc");
        nas(h)->system.q35 = TRI_YES;
        set(&nas(h)->system.name, "Debian 12");
}

static void microvm(Host *h) {
        set(&nas(h)->machine, "microvm");
}

static void no_machine(Host *h) {
        set(&nas(h)->machine, NULL);
}

static void run_with(Host *h, bool express, unsigned ports, unsigned slots) {
        nas(h)->state = GUEST_RUNNING;
        nas(h)->ports = (GuestPorts){ .known = true, .express = express, .free_ports = ports, .free_slots = slots };
}

static void no_port(Host *h) {
        run_with(h, true, 0, 31);
}

static void one_port(Host *h) {
        run_with(h, true, 1, 0);
}

static void no_slot(Host *h) {
        run_with(h, true, 5, 0);
        machine_function(h, &hba)->pcie_type = PCIE_CONVENTIONAL;
}

static void no_slot_without_express(Host *h) {
        run_with(h, false, 0, 0);
}

static void slot_without_express(Host *h) {
        run_with(h, false, 0, 1);
}

static void plugged_already(Host *h) {
        run_with(h, true, 0, 0);
        machine_plug(h, "nas", &hba, NULL);
        nas(h)->devices[0].rom_off = true;
}

static void paused(Host *h) {
        run_with(h, true, 5, 5);
        nas(h)->state = GUEST_PAUSED;
}

static void ports_unknown(Host *h) {
        nas(h)->state = GUEST_RUNNING;
}

/* -- memory -------------------------------------------------------------------------------------------------------------- */

static void too_large(Host *h) {
        nas(h)->memory = nas(h)->current_memory = 17 * GIB;
}

/* Neither the guest without a host device nor the one that is shut off counts. */
static void give_device(Host *h, const char *guest, uint64_t memory) {
        const PciAddress elsewhere = { 0, 0x77, 0, 0 };

        machine_attach(h, guest, &elsewhere, NULL);
        machine_guest(h, guest)->memory = memory;
}

static void others_run(Host *h) {
        give_device(h, "other", 15 * GIB + 1);
}

static void others_without_devices(Host *h) {
        machine_guest(h, "other")->memory = 16 * GIB;
}

static void others_shut_off(Host *h) {
        give_device(h, "other", 16 * GIB);
        machine_guest(h, "other")->state = GUEST_SHUT_OFF;
}

static void others_start(Host *h) {
        others_shut_off(h);
        machine_guest(h, "other")->autostart = TRI_YES;
}

static void others_in_huge_pages(Host *h) {
        give_device(h, "other", 15 * GIB);
        machine_guest(h, "other")->huge_pages = true;
}

static void nothing_left(Host *h) {
        nas(h)->memory = nas(h)->current_memory = 15 * GIB + GIB / 2;
}

static void set_aside(Host *h) {
        h->huge_memory = 15 * GIB + GIB / 2;
}

static void too_few_huge_pages(Host *h) {
        nas(h)->huge_pages = true;
        h->huge_memory = GIB / 2;
}

static void enough_huge_pages(Host *h) {
        nas(h)->huge_pages = true;
        h->huge_memory = GIB;
}

static void beyond_any_memory(Host *h) {
        give_device(h, "other", UINT64_MAX);
}

static void memory_unknown(Host *h) {
        h->memory = 0;
}

static void balloon_in_use(Host *h) {
        nas(h)->balloon = TRI_YES;
        nas(h)->current_memory = GIB / 2;
}

static void balloon_idle(Host *h) {
        nas(h)->balloon = TRI_YES;
}

static void balloon_unknown(Host *h) {
        nas(h)->balloon = TRI_UNKNOWN;
}

static void saved(Host *h) {
        nas(h)->managed_save = TRI_YES;
}

static void snapshots(Host *h) {
        nas(h)->memory_snapshots = 2;
        nas(h)->autostart = TRI_YES;
}

static void snapshots_unknown(Host *h) {
        nas(h)->memory_snapshots = -1;
}

static void starts_with_the_host(Host *h) {
        nas(h)->autostart = TRI_YES;
}

/* -- devices and disks --------------------------------------------------------------------------------------------------- */

static void option_rom(Host *h) {
        machine_attach(h, "nas", &hba, NULL);
}

static void boots_from_it(Host *h) {
        machine_attach(h, "nas", &hba, NULL);
        nas(h)->devices[0].boots = true;
}

static GuestDrive *add_drive(Host *h, const char *guest, const char *name, const char *bus) {
        Guest *g = machine_guest(h, guest);

        g->drives = reallocarray(g->drives, g->n_drives + 1, sizeof *g->drives);
        GuestDrive *d = &g->drives[g->n_drives++];
        *d = (GuestDrive){ .name = strdup(name), .bus = bus ? strdup(bus) : NULL, .fixed = true };
        d->paravirtual = str_equal(bus, "virtio");
        return d;
}

static void lies_behind(GuestDrive *d, const PciAddress *a) {
        d->controllers = calloc(1, sizeof *d->controllers);
        d->controllers[0] = *a;
        d->n_controllers = 1;
        d->sources = calloc(1, sizeof *d->sources);
        d->sources[d->n_sources++] = strdup("/dev/disk/by-id/ata-x");
}

static void boot_disk_on_it(Host *h) {
        lies_behind(add_drive(h, "nas", "vda", "virtio"), &hba);
}

static void data_disk_on_it(Host *h) {
        add_drive(h, "nas", "vda", "virtio");
        lies_behind(add_drive(h, "nas", "vdb", "virtio"), &hba);
        nas(h)->drives[0].boot_order = 1;
}

static void volume_on_it(Host *h) {
        GuestDrive *d = add_drive(h, "nas", "vda", "virtio");

        lies_behind(d, &hba);
        d->pool = strdup("tank");
        d->volume = strdup("boot");
}

static void scsi_device_on_it(Host *h) {
        GuestDrive *d = add_drive(h, "nas", "scsi_host2:0:0:0", NULL);

        lies_behind(d, &hba);
        d->scsi_device = true;
        d->fixed = false;
}

static void nvme_disk_on_it(Host *h) {
        machine_attach(h, "nas", &hba, NULL);
        nas(h)->devices[0].nvme = nas(h)->devices[0].rom_off = true;
}

static void disk_elsewhere(Host *h) {
        lies_behind(add_drive(h, "nas", "vda", "virtio"), &twin1);
}

static void disk_unknown(Host *h) {
        add_drive(h, "nas", "vda", "virtio")->problem = strdup("storage pool tank: not found");
}

static void others_scsi_device(Host *h) {
        GuestDrive *d = add_drive(h, "other", "scsi_host2:0:0:0", NULL);

        lies_behind(d, &hba);
        d->scsi_device = true;
}

static void session_has_it(Host *h) {
        machine_attach(h, "other", &hba, NULL);
        machine_guest(h, "other")->session = true;
}

static void others_nvme_disk(Host *h) {
        machine_attach(h, "other", &hba, NULL);
        machine_guest(h, "other")->devices[0].nvme = true;
}

/* -- paravirtual devices ------------------------------------------------------------------------------------------------- */

static void system_is(Host *h, Tri block, Tri network) {
        set(&nas(h)->system.id, "http://debian.org/debian/12");
        set(&nas(h)->system.name, "Debian 12");
        nas(h)->system.virtio_block = block;
        nas(h)->system.virtio_net = network;
        nas(h)->system.virtio_scsi = TRI_NO;
}

static void emulated_disk(Host *h) {
        system_is(h, TRI_YES, TRI_YES);
        add_drive(h, "nas", "sda", "sata");
}

static void emulated_network(Host *h) {
        system_is(h, TRI_YES, TRI_YES);
        set(&nas(h)->emulated_network, "e1000e");
}

static void emulated_for_want_of_drivers(Host *h) {
        emulated_disk(h);
        system_is(h, TRI_NO, TRI_NO);
        set(&nas(h)->emulated_network, "e1000e");
}

static void emulated_data_disk(Host *h) {
        system_is(h, TRI_YES, TRI_YES);
        add_drive(h, "nas", "sda", "sata")->boot_order = 2;
        add_drive(h, "nas", "vda", "virtio")->boot_order = 1;
        add_drive(h, "nas", "sdb", "sata")->fixed = false;
}

static void unnamed_system(Host *h) {
        add_drive(h, "nas", "sda", "sata");
}

static void unknown_system(Host *h) {
        add_drive(h, "nas", "sda", "sata");
        set(&nas(h)->system.id, "http://example.org/nas");
        set(&nas(h)->system.problem, "libosinfo's database does not know it");
}

static void paravirtual_anyway(Host *h) {
        add_drive(h, "nas", "vda", "virtio");
}

/* VERDICT_PASS: every check passes. */
static const struct {
        const char *check;
        void (*change)(Host *h);
        Verdict verdict;
        const char *word;
} cases[] = {
        { "guest-machine", i440fx, VERDICT_WARN, "i440fx" },
        { "guest-machine", old_i440fx, VERDICT_WARN, "i440fx" },
        { "guest-machine", microvm, VERDICT_FAIL, "microvm" },
        { "guest-machine", no_machine, VERDICT_SKIP, "no machine type" },
        { "guest-ports", no_port, VERDICT_FAIL, "0 free PCI Express ports of the 1" },
        { "guest-ports", no_slot, VERDICT_FAIL, "0 free conventional PCI slots of the 1" },
        { "guest-ports", no_slot_without_express, VERDICT_FAIL, "conventional" },
        { "guest-ports", one_port, VERDICT_PASS, "" },
        { "guest-ports", slot_without_express, VERDICT_PASS, "" },
        { "guest-ports", plugged_already, VERDICT_PASS, "" },
        { "guest-ports", paused, VERDICT_SKIP, "paused" },
        { "guest-ports", ports_unknown, VERDICT_SKIP, "not known" },
        { "guest-memory", too_large, VERDICT_FAIL, "17.0 GiB" },
        { "guest-memory", others_run, VERDICT_FAIL, "16.0 GiB" },
        { "guest-memory", others_start, VERDICT_FAIL, "17.0 GiB" },
        { "guest-memory", others_without_devices, VERDICT_PASS, "" },
        { "guest-memory", others_shut_off, VERDICT_PASS, "" },
        { "guest-memory", others_in_huge_pages, VERDICT_PASS, "" },
        { "guest-memory", nothing_left, VERDICT_WARN, "leaves the host 0.5 GiB" },
        { "guest-memory", set_aside, VERDICT_FAIL, "the host has 0.5 GiB" },
        { "guest-memory", too_few_huge_pages, VERDICT_FAIL, "in huge pages" },
        { "guest-memory", enough_huge_pages, VERDICT_PASS, "" },
        { "guest-memory", beyond_any_memory, VERDICT_FAIL, "GiB" },
        { "guest-memory", memory_unknown, VERDICT_SKIP, "not known" },
        { "guest-balloon", balloon_in_use, VERDICT_WARN, "0.5 GiB of its 1.0 GiB" },
        { "guest-balloon", balloon_idle, VERDICT_INFO, "no effect" },
        { "guest-balloon", balloon_unknown, VERDICT_SKIP, "not known" },
        { "guest-rom", option_rom, VERDICT_WARN, "option ROM" },
        { "guest-rom", boots_from_it, VERDICT_INFO, "boots from it" },
        { "guest-virtio", emulated_disk, VERDICT_WARN, "its boot disk emulated although Debian 12" },
        { "guest-virtio", emulated_network, VERDICT_WARN, "its network card emulated" },
        { "guest-virtio", emulated_for_want_of_drivers, VERDICT_PASS, "" },
        { "guest-virtio", emulated_data_disk, VERDICT_PASS, "" },
        { "guest-virtio", paravirtual_anyway, VERDICT_PASS, "" },
        { "guest-virtio", unnamed_system, VERDICT_SKIP, "names no system" },
        { "guest-virtio", unknown_system, VERDICT_SKIP, "does not know it" },
        { "guest-autostart", saved, VERDICT_WARN, "saved state" },
        { "guest-autostart", snapshots, VERDICT_WARN, "saved state" },
        { "guest-autostart", snapshots_unknown, VERDICT_SKIP, "not known" },
        { "guest-autostart", starts_with_the_host, VERDICT_INFO, "starts with the host" },
        { "guest-disk-on-controller", boot_disk_on_it, VERDICT_FAIL, "its boot disk vda behind 0000:03:00.0" },
        { "guest-disk-on-controller", data_disk_on_it, VERDICT_FAIL, "its disk vdb behind" },
        { "guest-disk-on-controller", volume_on_it, VERDICT_FAIL, "boot disk vda" },
        { "guest-disk-on-controller", scsi_device_on_it, VERDICT_FAIL, "scsi_host2:0:0:0" },
        { "guest-disk-on-controller", nvme_disk_on_it, VERDICT_FAIL, "nvme" },
        { "guest-disk-on-controller", disk_elsewhere, VERDICT_PASS, "" },
        { "guest-disk-on-controller", disk_unknown, VERDICT_SKIP, "storage pool tank" },
        { "guest-conflict", others_scsi_device, VERDICT_FAIL, "guest other has the SCSI device" },
        { "guest-conflict", session_has_it, VERDICT_FAIL, "guest other" },
        { "guest-conflict", others_nvme_disk, VERDICT_FAIL, "guest other" },
};

/* -- the tests ----------------------------------------------------------------------------------------------------------- */

static void run(const Host *h, const char *guest, FindingList *l) {
        const CheckRequest q = { .controllers = &hba, .n_controllers = 1, .guest = guest };
        _cleanup_error_ Error *e = NULL;

        if (check_run(h, &q, l, &e) < 0)
                fail_msg("%s", e->message);
}

static void assert_finding(const Finding *f, size_t i) {
        if (!str_equal(f->check, cases[i].check) || f->verdict != cases[i].verdict || !strstr(f->message, cases[i].word))
                fail_msg("case %zu, of %s: %s says %s: %s", i, cases[i].check, f->check, verdict_to_string(f->verdict), f->message);
        if (f->verdict == VERDICT_FAIL || f->verdict == VERDICT_WARN) {
                assert_non_null(f->remedy);
                assert_true(f->n_evidence > 0);
        }
}

static void each_says_its_own_alone(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                size_t n = 0;
                cases[i].change(h);
                run(h, "nas", &l);
                for (size_t j = 0; j < l.n; j++)
                        if (l.items[j].verdict != VERDICT_PASS) {
                                n++;
                                assert_finding(&l.items[j], i);
                        }
                if (n != (cases[i].verdict != VERDICT_PASS))
                        fail_msg("case %zu, of %s: %zu findings", i, cases[i].check, n);
        }
}

static void every_check_has_a_case(void **state) {
        (void) state;
        for (size_t i = 0; i < n_checks; i++) {
                bool found = strncmp(checks[i]->id, "guest-", 6) != 0;
                for (size_t j = 0; j < ELEMENTSOF(cases); j++)
                        found |= str_equal(cases[j].check, checks[i]->id) && cases[j].verdict > VERDICT_INFO;
                if (!found)
                        fail_msg("no case makes %s fail or warn", checks[i]->id);
        }
}

static size_t count_guest_findings(const FindingList *l, Verdict v) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++)
                n += strncmp(l->items[i].check, "guest-", 6) == 0 && l->items[i].verdict == v;
        return n;
}

/* Nobody who looks at a controller wants to read about the guests that do not get it. */
static void without_a_guest_only_conflicts_are_told(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        i440fx(h);
        boot_disk_on_it(h);
        run(h, NULL, &l);
        assert_int_equal(count_guest_findings(&l, VERDICT_PASS), 1);
        assert_int_equal(count_guest_findings(&l, VERDICT_FAIL) + count_guest_findings(&l, VERDICT_SKIP), 0);
}

static void a_guest_is_judged_once(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};
        _cleanup_error_ Error *e = NULL;
        size_t n = 0;

        (void) state;
        assert_int_equal(check_preflight(h, NULL, 0, "nas", &l, &e), 0);
        for (size_t i = 0; i < l.n; i++)
                if (str_equal(l.items[i].check, "guest-machine")) {
                        n++;
                        assert_string_equal(l.items[i].subject, "nas");
                }
        assert_int_equal(n, 1);
}

/* Other checks skip there, too. */
static void other_architectures_are_not_judged(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        set(&h->architecture, "aarch64");
        run(h, "nas", &l);
        for (size_t i = 0; i < l.n; i++)
                if (str_equal(l.items[i].check, "guest-machine"))
                        assert_int_equal(l.items[i].verdict, VERDICT_SKIP);
}

/* Skipped, and the hard ones bar the assignment. */
static void unknown_guests_are_not_judged(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        h->guests_known = false;
        run(h, "nas", &l);
        assert_int_equal(count_guest_findings(&l, VERDICT_SKIP), 9);
        assert_false(check_allows(&l, NULL, 0));
}

/* assign --no-attach where libvirt has no guests yet. */
static void a_guest_to_come_is_no_obstacle(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        run(h, "later", &l);
        assert_int_equal(count_guest_findings(&l, VERDICT_FAIL), 0);
        assert_true(check_allows(&l, NULL, 0));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_says_its_own_alone),
                cmocka_unit_test(every_check_has_a_case),
                cmocka_unit_test(without_a_guest_only_conflicts_are_told),
                cmocka_unit_test(a_guest_is_judged_once),
                cmocka_unit_test(other_architectures_are_not_judged),
                cmocka_unit_test(unknown_guests_are_not_judged),
                cmocka_unit_test(a_guest_to_come_is_no_obstacle),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
