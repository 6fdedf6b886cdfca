/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checks of the platform and of the PCI function itself: each passes, complains and skips when it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/pci_regs.h>

#include "base/file.h"
#include "check/check.h"
#include "model/controller.h"
#include "support-plan.h"

/* -- changes of the healthy machine -------------------------------------------------------------------------------------- */

static PciFunction *it(Host *h) {
        return machine_function(h, &hba);
}

static void set(char **field, const char *value) {
        free(*field);
        *field = value ? strdup(value) : NULL;
}

static void no_svm(Host *h) {
        h->cpu_virtualization = TRI_NO;
}

static void no_kvm(Host *h) {
        h->kvm = TRI_NO;
}

static void not_remapped(Host *h) {
        h->interrupts_remapped = TRI_NO;
}

static void remapping_off(Host *h) {
        not_remapped(h);
        set(&h->command_line, "quiet intremap=off");
}

static void unsafe(Host *h) {
        set(&h->unsafe_interrupts, "/etc/modprobe.d/vfio.conf");
}

static void patched_acs(Host *h) {
        set(&h->command_line, "quiet pcie_acs_override=downstream,multifunction");
}

static void patched_rmrr(Host *h) {
        set(&h->command_line, "quiet intel_iommu=on,relax_rmrr");
}

static void claim(Host *h, Claim c) {
        h->claims = reallocarray(h->claims, h->n_claims + 1, sizeof *h->claims);
        c.driver = c.driver ? strdup(c.driver) : NULL;
        c.where = strdup("/etc/modprobe.d/local.conf");
        c.text = strdup("text");
        h->claims[h->n_claims++] = c;
}

static void driverctl(Host *h) {
        claim(h, (Claim){ .kind = CLAIM_DRIVERCTL, .address = hba, .driver = (char *) "vfio-pci" });
}

static const Claim any = {
        .kind = CLAIM_IDS, .vendor = 0x8086, .device = 0x2922, .subsystem_vendor = UINT32_MAX, .subsystem_device = UINT32_MAX,
};

static void ids(Host *h) {
        claim(h, any);
}

static void ids_with_class(Host *h) {
        Claim c = any;

        c.subsystem_vendor = 0x1af4;
        c.subsystem_device = 1;
        c.class = 0x010600;
        c.class_mask = 0xffff00;
        claim(h, c);
}

static void softdep(Host *h) {
        claim(h, (Claim){ .kind = CLAIM_SOFTDEP, .driver = (char *) "ahci" });
}

static void bound_by_another(Host *h) {
        set(&it(h)->driver, "vfio-pci");
}

static void stubbed(Host *h) {
        set(&it(h)->driver, "pci-stub");
}

static void overridden_by_another(Host *h) {
        set(&it(h)->driver_override, "vfio-pci");
}

static void no_reset(Host *h) {
        set(&it(h)->reset_method, NULL);
}

static void reset_switched_off(Host *h) {
        set(&it(h)->reset_method, "");
}

static void bus_reset(Host *h) {
        set(&it(h)->reset_method, "bus");
}

static void shared_bus_reset(Host *h) {
        machine_function(h, &twin1)->has_parent = machine_function(h, &twin2)->has_parent = true;
        set(&machine_function(h, &twin1)->reset_method, "cxl_bus bus");
}

static void no_msi(Host *h) {
        it(h)->msi = TRI_NO;
}

static void dead(Host *h) {
        it(h)->config_dead = TRI_YES;
}

static void behind_port(Host *h) {
        it(h)->has_parent = true;
        it(h)->parent = (PciAddress){ 0, 0, 2, 0 };
}

static PciFunction *port_of(Host *h) {
        behind_port(h);
        return machine_function(h, &it(h)->parent);
}

static void port_cuts_power(Host *h) {
        PciFunction *port = port_of(h);

        port->runtime_pm = port->power_switch = TRI_YES;
}

static void power_switch(Host *h) {
        it(h)->power_switch = TRI_YES;
}

static void quirk(PciFunction *f, const char *severity) {
        f->quirks = calloc(1, sizeof *f->quirks);
        f->n_quirks = 1;
        f->quirks[0] = (Quirk){ .name = strdup("DMA_ALIAS"), .severity = strdup(severity), .reason = strdup("does odd DMA"),
                                .remedy = strdup("Mind it."), .source = strdup("drivers/pci/quirks.c") };
}

static void quirk_warns(Host *h) {
        quirk(it(h), "warn");
}

static void quirk_fails(Host *h) {
        quirk(it(h), "fail");
}

static void quirk_of_bridge(Host *h) {
        quirk(port_of(h), "warn");
}

static void remapped(Host *h) {
        it(h)->remapped_nvme = 2;
}

static void builtin(Host *h) {
        set(&h->builtin_modules, "kernel/drivers/ata/libahci.ko\nkernel/drivers/ata/ahci.ko");
}

/* One more of its kind, in another slot, and no disk with a serial number. */
static void twin(Host *h) {
        PciFunction *o = machine_function(h, &twin1);

        behind_port(h);
        o->subsystem_device = it(h)->subsystem_device;
        o->has_parent = true;
        o->parent = it(h)->parent;
        for (size_t i = 0; i < h->n_disks; i++)
                set(&h->disks[i].serial, NULL);
}

static void twin_with_serials(Host *h) {
        twin(h);
        for (size_t i = 0; i < h->n_disks; i++)
                set(&h->disks[i].serial, "SERIAL");
}

static void slow_link(Host *h) {
        it(h)->link_speed = 2500;
}

static void narrow_link(Host *h) {
        it(h)->link_width = 1;
}

static void no_ecc(Host *h) {
        h->ecc = TRI_NO;
}

static void two_nodes(Host *h) {
        set(&h->numa_nodes, "0-1");
        it(h)->numa_node = 1;
}

static void far_memory(Host *h) {
        two_nodes(h);
        set(&machine_guest(h, "nas")->memory_nodes, "0-1,^1");
}

/* -- what they lead to ---------------------------------------------------------------------------------------------------- */

static const struct {
        const char *check;
        void (*change)(Host *h);
        Verdict verdict;
        const char *word; /* in the message */
} cases[] = {
        { "cpu-virtualization", no_svm, VERDICT_FAIL, "no virtualization" },
        { "cpu-virtualization", no_kvm, VERDICT_FAIL, "/dev/kvm" },
        { "interrupt-remapping", not_remapped, VERDICT_FAIL, "not remapped" },
        { "interrupt-remapping", remapping_off, VERDICT_FAIL, "not remapped" },
        { "interrupt-remapping", unsafe, VERDICT_FAIL, "unsafe" },
        { "acs-override", patched_acs, VERDICT_FAIL, "pcie_acs_override" },
        { "acs-override", patched_rmrr, VERDICT_FAIL, "relax_rmrr" },
        { "competing-binder", driverctl, VERDICT_FAIL, "driverctl" },
        { "competing-binder", ids, VERDICT_FAIL, "ids" },
        { "competing-binder", ids_with_class, VERDICT_FAIL, "ids" },
        { "competing-binder", softdep, VERDICT_WARN, "ahci" },
        { "competing-binder", bound_by_another, VERDICT_FAIL, "bound to vfio-pci" },
        { "competing-binder", stubbed, VERDICT_FAIL, "bound to pci-stub" },
        { "competing-binder", overridden_by_another, VERDICT_FAIL, "override" },
        { "reset-method", no_reset, VERDICT_WARN, "cannot be reset" },
        { "reset-method", reset_switched_off, VERDICT_WARN, "cannot be reset" },
        { "reset-method", bus_reset, VERDICT_INFO, "nothing else stays" },
        { "interrupt-mode", no_msi, VERDICT_WARN, "MSI" },
        { "power-state", dead, VERDICT_FAIL, "all ones" },
        { "power-state", port_cuts_power, VERDICT_WARN, "D3cold" },
        { "power-state", power_switch, VERDICT_WARN, "D3cold" },
        { "hardware-quirk", quirk_warns, VERDICT_WARN, "0000:03:00.0 does odd DMA" },
        { "hardware-quirk", quirk_fails, VERDICT_FAIL, "0000:03:00.0 does odd DMA" },
        { "hardware-quirk", quirk_of_bridge, VERDICT_WARN, "0000:00:02.0 does odd DMA" },
        { "vmd-or-remapped", remapped, VERDICT_FAIL, "2 NVMe" },
        { "driver-builtin", builtin, VERDICT_WARN, "ahci built in" },
        { "twin-device", twin, VERDICT_WARN, "0000:05:01.0" },
        { "twin-device", twin_with_serials, VERDICT_INFO, "0000:05:01.0" },
        { "pcie-link", slow_link, VERDICT_INFO, "2.5 GT/s x4 of 8.0 GT/s x4" },
        { "pcie-link", narrow_link, VERDICT_INFO, "8.0 GT/s x1 of" },
        { "ecc-memory", no_ecc, VERDICT_INFO, "ECC" },
        { "numa-local", two_nodes, VERDICT_INFO, "any" },
        { "numa-local", far_memory, VERDICT_INFO, "0-1,^1" },
};

static void run(const Host *h, FindingList *l) {
        const CheckRequest q = { .controllers = &hba, .n_controllers = 1, .guest = "nas" };
        _cleanup_error_ Error *e = NULL;

        if (check_run(h, &q, l, &e) < 0)
                fail_msg("%s", e->message);
}

/* Of a check that has one finding. */
static Verdict verdict_of(const FindingList *l, const char *check) {
        for (size_t i = 0; i < l->n; i++)
                if (str_equal(l->items[i].check, check))
                        return l->items[i].verdict;
        fail_msg("no finding of %s", check);
        return VERDICT_SKIP;
}

static void each_complains_for_its_reason_alone(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                size_t found = 0;
                cases[i].change(h);
                run(h, &l);
                for (size_t j = 0; j < l.n; j++) {
                        const Finding *f = &l.items[j];
                        if (f->verdict <= VERDICT_PASS)
                                continue;
                        if (!str_equal(f->check, cases[i].check) || f->verdict != cases[i].verdict)
                                fail_msg("case %zu: %s instead of %s: %s", i, f->check, cases[i].check, f->message);
                        if (!strstr(f->message, cases[i].word))
                                fail_msg("\"%s\" does not say \"%s\"", f->message, cases[i].word);
                        assert_true(f->n_evidence > 0);
                        if (f->verdict != VERDICT_INFO)
                                assert_non_null(f->remedy);
                        found++;
                }
                if (found != 1)
                        fail_msg("case %zu (%s): %zu findings", i, cases[i].check, found);
        }
}

/* -- what does not lead to anything --------------------------------------------------------------------------------------- */

static void other_ids(Host *h) {
        Claim c = any;

        c.device++;
        claim(h, c);
        c = any;
        c.subsystem_device = 2;
        claim(h, c);
        c = any;
        c.class = 0x010800;
        c.class_mask = 0xffff00;
        claim(h, c);
        claim(h, (Claim){ .kind = CLAIM_DRIVERCTL, .address = twin1, .driver = (char *) "vfio-pci" });
        claim(h, (Claim){ .kind = CLAIM_SOFTDEP, .driver = (char *) "nvme" });
}

/* d3cold_allowed is 1 for most devices of most machines. */
static void port_without_switch(Host *h) {
        port_of(h)->runtime_pm = TRI_YES;
}

static void port_kept_on(Host *h) {
        port_of(h)->power_switch = TRI_YES;
}

static void idle_d3_off(Host *h) {
        port_cuts_power(h);
        h->idle_d3_disabled = TRI_YES;
}

static void port_not_allowed(Host *h) {
        port_cuts_power(h);
        machine_function(h, &it(h)->parent)->d3cold_allowed = TRI_NO;
}

static void quirk_taken_back(Host *h) {
        quirk(it(h), "none");
}

static void quirk_of_another(Host *h) {
        quirk(machine_function(h, &twin1), "fail");
}

static void similar_driver_builtin(Host *h) {
        set(&h->builtin_modules, "kernel/drivers/ata/ahci_platform.ko\nkernel/drivers/ata/libahci.ko\nkernel/ahci/x.ko\n");
}

static void twin_with_pcie_serial(Host *h) {
        twin(h);
        it(h)->has_serial = true;
}

static void twin_on_the_board(Host *h) {
        twin(h);
        machine_function(h, &it(h)->parent)->slot = false;
}

static void near_memory(Host *h) {
        two_nodes(h);
        set(&machine_guest(h, "nas")->memory_nodes, "0,1");
}

static void conventional_without_link(Host *h) {
        it(h)->pcie_type = PCIE_CONVENTIONAL;
        it(h)->link_speed = it(h)->link_width = it(h)->link_speed_max = it(h)->link_width_max = 0;
}

static void words_that_only_look_alike(Host *h) {
        set(&h->command_line, "xpcie_acs_override=1 norelax_rmrr=1 pci=relax_rmrrx intremap=on");
}

static void nothing_else_complains(void **state) {
        static void (*const changes[])(Host *) = {
                other_ids, port_without_switch, port_kept_on, idle_d3_off, port_not_allowed, quirk_taken_back, quirk_of_another,
                similar_driver_builtin, twin_with_pcie_serial, twin_on_the_board, near_memory, conventional_without_link,
                words_that_only_look_alike,
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                changes[i](h);
                run(h, &l);
                for (size_t j = 0; j < l.n; j++)
                        if (l.items[j].verdict != VERDICT_PASS)
                                fail_msg("change %zu: %s: %s", i, l.items[j].check, l.items[j].message);
        }
}

/* -- what could not be read ------------------------------------------------------------------------------------------------ */

static void kvm_unknown(Host *h) {
        h->kvm = TRI_UNKNOWN;
}

static void interrupts_unknown(Host *h) {
        h->interrupts_remapped = TRI_UNKNOWN;
}

static void another_architecture(Host *h) {
        set(&h->architecture, "aarch64");
        h->interrupts_remapped = h->cpu_virtualization = TRI_NO;
}

static void command_line_unknown(Host *h) {
        set(&h->command_line, NULL);
}

static void claims_unknown(Host *h) {
        h->claims_known = false;
}

static void no_resets_told(Host *h) {
        for (size_t i = 0; i < h->n_functions; i++)
                set(&h->functions[i].reset_method, NULL);
}

static void without_privilege(Host *h) {
        for (size_t i = 0; i < h->n_functions; i++) {
                PciFunction *f = &h->functions[i];
                f->config_size = 64;
                f->pcie_type = PCIE_UNKNOWN;
                f->msi = f->acs = TRI_UNKNOWN;
                f->slot = false;
        }
}

static void twin_without_privilege(Host *h) {
        twin(h);
        without_privilege(h);
        it(h)->msi = TRI_YES;
}

static void config_unknown(Host *h) {
        it(h)->config_dead = TRI_UNKNOWN;
}

static void d3cold_unknown(Host *h) {
        it(h)->d3cold_allowed = TRI_UNKNOWN;
}

static void records_unknown(Host *h) {
        h->quirks_known = TRI_NO;
}

static void builtin_unknown(Host *h) {
        set(&h->builtin_modules, NULL);
}

static void link_unknown(Host *h) {
        behind_port(h);
        it(h)->link_speed = 0;
}

static void ecc_unknown(Host *h) {
        h->ecc = TRI_UNKNOWN;
}

static void nodes_unknown(Host *h) {
        set(&h->numa_nodes, NULL);
        it(h)->numa_node = 1;
}

static const struct {
        const char *check;
        void (*change)(Host *h);
} unknowns[] = {
        { "cpu-virtualization", kvm_unknown },     { "interrupt-remapping", interrupts_unknown },
        { "interrupt-remapping", another_architecture }, { "acs-override", command_line_unknown },
        { "competing-binder", claims_unknown },    { "reset-method", no_resets_told },
        { "interrupt-mode", without_privilege },   { "twin-device", twin_without_privilege },
        { "power-state", config_unknown },         { "power-state", d3cold_unknown },
        { "hardware-quirk", records_unknown },     { "driver-builtin", builtin_unknown },
        { "pcie-link", link_unknown },             { "ecc-memory", ecc_unknown },
        { "numa-local", nodes_unknown },
};

/* vmd-or-remapped needs nothing but the address. */
static void what_could_not_be_read_is_skipped(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(unknowns); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                bool skipped = false;
                unknowns[i].change(h);
                run(h, &l);
                for (size_t j = 0; j < l.n; j++) {
                        if (l.items[j].verdict > VERDICT_PASS)
                                fail_msg("unknown %zu: %s: %s", i, l.items[j].check, l.items[j].message);
                        skipped |= str_equal(l.items[j].check, unknowns[i].check) && l.items[j].verdict == VERDICT_SKIP;
                }
                if (!skipped)
                        fail_msg("unknown %zu: %s is not skipped", i, unknowns[i].check);
                assert_true(check_allows(&l, NULL, 0));
        }
}

static void a_drive_behind_a_vmd_fails(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};
        const CheckRequest q = { .controllers = &(PciAddress){ 0x10000, 3, 0, 0 }, .n_controllers = 1, .guest = "nas" };

        (void) state;
        it(h)->address.domain = 0x10000;
        host_sort(h);
        assert_int_equal(check_run(h, &q, &l, NULL), 0);
        for (size_t i = 0; i < l.n; i++)
                if (str_equal(l.items[i].check, "vmd-or-remapped")) {
                        assert_int_equal(l.items[i].verdict, VERDICT_FAIL);
                        assert_non_null(strstr(l.items[i].message, "VMD"));
                }
}

static void managed_devices_are_told(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};
        size_t told = 0;

        (void) state;
        machine_attach(h, "nas", &hba, "other");
        machine_guest(h, "nas")->devices[0].managed = true;
        run(h, &l);
        for (size_t i = 0; i < l.n; i++)
                if (str_equal(l.items[i].check, "competing-binder")) {
                        assert_int_equal(l.items[i].verdict, VERDICT_FAIL);
                        assert_non_null(strstr(l.items[i].message, "guest nas"));
                        told++;
                }
        assert_int_equal(told, 1);
}

static void our_own_binding_is_no_competitor(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();

        (void) state;
        h->assigned = calloc(1, sizeof *h->assigned);
        assert_int_equal(assigned_from_host(h, it(h), "nas", &h->assigned[h->n_assigned++]), 0);
        for (int i = 0; i < 2; i++) {
                _cleanup_findings_ FindingList l = {};
                set(&it(h)->driver, i == 0 ? "vfio-pci" : "mlx5-vfio-pci");
                set(&it(h)->driver_override, "vfio-pci");
                run(h, &l);
                assert_int_equal(verdict_of(&l, "competing-binder"), i == 0 ? VERDICT_PASS : VERDICT_FAIL);
        }
}

static void a_reset_that_hits_others_names_them(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};
        const CheckRequest q = { .controllers = &twin1, .n_controllers = 1, .guest = "nas" };
        size_t told = 0;

        (void) state;
        shared_bus_reset(h);
        assert_int_equal(check_run(h, &q, &l, NULL), 0);
        for (size_t i = 0; i < l.n; i++)
                if (str_equal(l.items[i].check, "reset-method") && l.items[i].verdict == VERDICT_WARN) {
                        assert_non_null(strstr(l.items[i].message, "0000:05:02.0"));
                        told++;
                }
        assert_int_equal(told, 1);
}

/* They go to the same guest together. */
static void a_bus_that_goes_along_is_reset_for_itself(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};
        const CheckRequest q = { .controllers = (const PciAddress[]){ twin1, twin2 }, .n_controllers = 2, .guest = "nas" };

        (void) state;
        shared_bus_reset(h);
        assert_int_equal(check_run(h, &q, &l, NULL), 0);
        assert_int_equal(verdict_of(&l, "reset-method"), VERDICT_INFO);
}

/* -- why there is no IOMMU -------------------------------------------------------------------------------------------------- */

static void no_iommu_says_whose_fault_it_is(void **state) {
        static const struct {
                const char *table;
                Tri built, on;
                const char *line, *word, *remedy;
        } reasons[] = {
                { NULL, TRI_UNKNOWN, TRI_UNKNOWN, "quiet", "firmware offers no", "firmware setup" },
                { "DMAR", TRI_NO, TRI_NO, "quiet", "built without", "CONFIG_INTEL_IOMMU" },
                { "IVRS", TRI_NO, TRI_YES, "quiet", "built without", "CONFIG_AMD_IOMMU" },
                { "DMAR", TRI_YES, TRI_NO, "quiet", "unless it is told", "intel_iommu=on" },
                { "DMAR", TRI_YES, TRI_YES, "quiet", "though the firmware offers one", "intel_iommu=on" },
                { "DMAR", TRI_YES, TRI_NO, "quiet intel_iommu=on,sm_on", "though the firmware offers one", "dmesg" },
                { "IVRS", TRI_UNKNOWN, TRI_UNKNOWN, "quiet", "though the firmware offers one", "dmesg" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(reasons); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                free(h->iommu_units[0]);
                h->n_iommu_units = 0;
                h->firmware_table = reasons[i].table;
                h->firmware_iommu = reasons[i].table ? TRI_YES : TRI_NO;
                h->iommu_built = reasons[i].built;
                h->iommu_default_on = reasons[i].on;
                set(&h->command_line, reasons[i].line);
                run(h, &l);
                for (size_t j = 0; j < l.n; j++)
                        if (str_equal(l.items[j].check, "iommu-enabled")) {
                                assert_int_equal(l.items[j].verdict, VERDICT_FAIL);
                                assert_non_null(strstr(l.items[j].message, reasons[i].word));
                                assert_non_null(strstr(l.items[j].remedy, reasons[i].remedy));
                        }
        }
}

/* -- why the group is what it is --------------------------------------------------------------------------------------------- */

/* twin1 becomes a NIC of the group that hba is in, below one port without ACS; twin2 another port, empty. */
static Host *shared_machine(void) {
        Host *h = machine_new();
        PciFunction *nic = machine_function(h, &twin1), *slot = machine_function(h, &twin2), *port = port_of(h);
        IommuGroup *g = (IommuGroup *) host_find_group(h, 20), *other = (IommuGroup *) host_find_group(h, 30);

        port->acs = TRI_NO;
        nic->class = 0x020000;
        set(&nic->driver, "e1000e");
        nic->group = 20;
        g->members = reallocarray(g->members, 2, sizeof *g->members);
        g->members[g->n_members++] = twin1;
        slot->class = 0x060400;
        slot->header_type = 1;
        slot->pcie_type = PCI_EXP_TYPE_ROOT_PORT;
        slot->acs = TRI_YES;
        set(&slot->driver, "pcieport");
        other->members[0] = twin2;
        other->n_members = 1;
        host_sort(h);
        return h;
}

static void assert_explained(Host *h, const char *explanation, const char *remedy) {
        _cleanup_findings_ FindingList l = {};
        bool found = false;

        run(h, &l);
        for (size_t i = 0; i < l.n; i++) {
                if (!str_equal(l.items[i].check, "group-isolated"))
                        continue;
                assert_int_equal(l.items[i].verdict, VERDICT_FAIL);
                for (size_t j = 0; j < l.items[i].n_evidence; j++)
                        found |= strstr(l.items[i].evidence[j], explanation) && strstr(l.items[i].evidence[j], "explanation");
                if (!strstr(l.items[i].remedy, remedy))
                        fail_msg("\"%s\" does not say \"%s\"", l.items[i].remedy, remedy);
        }
        if (!found)
                fail_msg("nothing says \"%s\"", explanation);
}

static void the_first_gap_is_named(void **state) {
        _cleanup_(host_freep) Host *h = shared_machine();

        (void) state;
        assert_explained(h, "isolate is 0000:00:02.0", "slot below 0000:05:02.0 has a group of its own and is empty");
        machine_function(h, &twin2)->acs_on = 0x01;
        assert_explained(h, "it has no ACS capability", "No slot with a group of its own was found");
        machine_function(h, &hba)->multifunction = true;
        assert_explained(h, "isolate is 0000:03:00.0", "Move the card");
        port_of(h)->slot = false;
        assert_explained(h, "isolate is 0000:03:00.0", "cannot be moved");
}

static void the_gap_may_be_of_several_kinds(void **state) {
        _cleanup_(host_freep) Host *h = shared_machine();
        PciFunction *port = port_of(h);

        (void) state;
        port->acs = TRI_YES;
        port->acs_on = 0x19;
        assert_explained(h, "not switched on completely", "Move");
        /* what the port cannot do is wired */
        port->acs_able = 0x19;
        assert_explained(h, "every hop has ACS", "Move");
        port->pcie_type = PCI_EXP_TYPE_PCI_BRIDGE;
        assert_explained(h, "bridge to conventional PCI", "Move");
        port->pcie_type = PCIE_UNKNOWN;
        assert_explained(h, "not known beyond 0000:00:02.0", "Move");
        /* Intel's 8 series has no ACS, but the kernel knows how to make it isolate */
        port->pcie_type = PCI_EXP_TYPE_ROOT_PORT;
        port->acs = TRI_NO;
        port->device = 0x8c10;
        assert_explained(h, "every hop has ACS", "Move");
        it(h)->parent.device = 30;
        assert_explained(h, "bridge above it could not be read", "Move");
}

/* -- the page ---------------------------------------------------------------------------------------------------------------- */

static void the_page_has_every_check_and_no_other(void **state) {
        _cleanup_free_ char *page = NULL;
        size_t n = 0;

        (void) state;
        assert_int_equal(file_read(AT_FDCWD, "docs/checks.md", &page, NULL), 0);
        for (size_t i = 0; i < n_checks; i++) {
                char heading[64];
                (void) snprintf(heading, sizeof heading, "\n## %s\n", checks[i]->id);
                if (!strstr(page, heading))
                        fail_msg("docs/checks.md has no %s", checks[i]->id);
        }
        for (const char *s = strstr(page, "\n## "); s; s = strstr(s + 1, "\n## "))
                n++;
        assert_int_equal(n, n_checks);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_complains_for_its_reason_alone),
                cmocka_unit_test(nothing_else_complains),
                cmocka_unit_test(what_could_not_be_read_is_skipped),
                cmocka_unit_test(a_drive_behind_a_vmd_fails),
                cmocka_unit_test(managed_devices_are_told),
                cmocka_unit_test(our_own_binding_is_no_competitor),
                cmocka_unit_test(a_reset_that_hits_others_names_them),
                cmocka_unit_test(a_bus_that_goes_along_is_reset_for_itself),
                cmocka_unit_test(no_iommu_says_whose_fault_it_is),
                cmocka_unit_test(the_first_gap_is_named),
                cmocka_unit_test(the_gap_may_be_of_several_kinds),
                cmocka_unit_test(the_page_has_every_check_and_no_other),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
