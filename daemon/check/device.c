/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The controller itself. */
#include "check/family.h"

/* vfio-pci refuses a physical function with virtual functions enabled with EBUSY (vfio_pci_core_register_device,
 * drivers/vfio/pci/vfio_pci_core.c); a virtual function hangs on a physical one that stays the host's. */
static int run_sr_iov(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        Finding *fail;

        (void) h;
        (void) q;
        if (f->is_vf) {
                fail = check_add(c, f, l, VERDICT_FAIL, "%s is an SR-IOV virtual function", PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/physfn exists", PCI_ADDRESS_STR(&f->address));
                (void) finding_remedy(fail, "Assign the whole controller (its physical function) instead.");
                return check_result(fail);
        }
        if (f->sriov_vfs > 0) {
                fail = check_add(c, f, l, VERDICT_FAIL, "%s has %u SR-IOV virtual functions enabled", PCI_ADDRESS_STR(&f->address),
                                 f->sriov_vfs);
                (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/sriov_numvfs is %u", PCI_ADDRESS_STR(&f->address), f->sriov_vfs);
                (void) finding_remedy(fail, "Disable them first: echo 0 > /sys/bus/pci/devices/%s/sriov_numvfs",
                                      PCI_ADDRESS_STR(&f->address));
                return check_result(fail);
        }
        return check_result(check_add(c, f, l, VERDICT_PASS, "no SR-IOV virtual function is involved"));
}

const Check check_sr_iov = {
        .id = "sr-iov", .kind = CHECK_IMPOSSIBLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller is whole: no SR-IOV virtual functions", .run = run_sr_iov,
};

/* -- reset-method -------------------------------------------------------------------------------------------------------- */

/* sysfs reset_method came with 5.15; a kernel that has it has it for some function of the machine. */
static bool kernel_tells_resets(const Host *h) {
        for (size_t i = 0; i < h->n_functions; i++)
                if (h->functions[i].reset_method)
                        return true;
        return false;
}

/* A method that resets this function alone; bus and cxl_bus reset what hangs on the bus (pci_reset_fn_methods, drivers/pci/pci.c). */
static bool resets_alone(const char *methods) {
        for (const char *s = methods + strspn(methods, " "); *s; s += strcspn(s, " "), s += strspn(s, " ")) {
                size_t n = strcspn(s, " ");
                if (!(n == 3 && strncmp(s, "bus", n) == 0) && !(n == 7 && strncmp(s, "cxl_bus", n) == 0))
                        return true;
        }
        return false;
}

/* The root bus is never reset. */
static bool on_same_bus(const PciFunction *a, const PciFunction *b) {
        return a != b && a->has_parent && b->has_parent && pci_address_equal(&a->parent, &b->parent);
}

/* ": 0000:03:00.1, 0000:03:00.2"; "" when nothing else is on its bus, or all of it goes along; NULL when out of memory. */
static char *print_neighbours(const Host *h, const CheckRequest *q, const PciFunction *f) {
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        for (size_t i = 0; stream && i < h->n_functions; i++)
                if (on_same_bus(f, &h->functions[i]) && !request_has(q, &h->functions[i].address))
                        (void) fprintf(stream, "%s%s", ftell(stream) > 0 ? ", " : ": ", PCI_ADDRESS_STR(&h->functions[i].address));
        return stream && fclose(stream) == 0 ? text : NULL;
}

static int add_bus_reset(const Check *c, const PciFunction *f, const char *neighbours, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *finding;

        if (*neighbours)
                finding = check_add(c, f, l, VERDICT_WARN, "%s can only be reset together with its whole bus%s", address, neighbours);
        else
                finding = check_add(c, f, l, VERDICT_INFO, "%s is reset through its bus, on which nothing else stays", address);
        (void) finding_evidence(finding, "/sys/bus/pci/devices/%s/reset_method: %s", address, f->reset_method);
        if (*neighbours)
                (void) finding_remedy(finding, "Assign what is on the bus to the same guest, or restart the host when the controller does "
                                               "not come back after a restart of the guest.");
        return check_result(finding);
}

/* vfio_pci_core_enable, drivers/vfio/pci/vfio_pci_core.c: without a reset the device opens all the same. */
static int run_reset_method(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        _cleanup_free_ char *neighbours = print_neighbours(h, q, f);

        if (!neighbours)
                return check_result(NULL);
        if (!f->reset_method && !kernel_tells_resets(h))
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the kernel does not tell how devices are reset"));
        if (f->reset_method && resets_alone(f->reset_method))
                return check_result(check_add(c, f, l, VERDICT_PASS, "it can be reset: %s", f->reset_method));
        if (f->reset_method && *f->reset_method)
                return add_bus_reset(c, f, neighbours, l);
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "%s cannot be reset: a guest finds it as the one before left it", address);
        if (f->reset_method)
                (void) finding_evidence(warn, "/sys/bus/pci/devices/%s/reset_method is empty: somebody has switched resets off", address);
        else
                (void) finding_evidence(warn, "/sys/bus/pci/devices/%s/reset_method does not exist", address);
        if (*neighbours)
                (void) finding_evidence(warn, "a reset of its bus would hit others, too%s", neighbours);
        (void) finding_remedy(warn, "%s", f->reset_method ? "Write default to that file." : "Restart the guest several times under load "
                              "before it gets data; if the controller does not come back, restart the host, or use another one.");
        return check_result(warn);
}

const Check check_reset_method = {
        .id = "reset-method", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller can be reset between guests", .run = run_reset_method,
};

/* -- interrupt-mode ------------------------------------------------------------------------------------------------------ */

static int run_interrupt_mode(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        (void) h;
        (void) q;
        if (f->msi == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "config space beyond 64 bytes could not be read, which needs root"));
        if (f->msi == TRI_YES)
                return check_result(check_add(c, f, l, VERDICT_PASS, "it has MSI or MSI-X"));
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "%s has neither MSI nor MSI-X: it shares an interrupt line, which is slow and may "
                                                         "be refused", PCI_ADDRESS_STR(&f->address));
        (void) finding_evidence(warn, "lspci -vv -s %s lists no MSI and no MSI-X capability", PCI_ADDRESS_STR(&f->address));
        (void) finding_remedy(warn, "Use a newer HBA. If VFIO refuses it, another slot may have an interrupt line of its own: see "
                                    "/proc/interrupts.");
        return check_result(warn);
}

const Check check_interrupt_mode = {
        .id = "interrupt-mode", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller has message signalled interrupts", .run = run_interrupt_mode,
};

/* -- power-state --------------------------------------------------------------------------------------------------------- */

/* What would cut its power once vfio-pci lets it idle (vfio-pci allows runtime power management for it, whatever power/control
 * is now): ACPI of the function itself, or of a port above it that is let suspend. Most ports have d3cold_allowed; it means
 * nothing where the platform has no switch. */
static const PciFunction *power_cut(const Host *h, const PciFunction *f) {
        const PciFunction *hop = f;

        for (int depth = 0; hop && hop->d3cold_allowed == TRI_YES && (hop == f || hop->runtime_pm == TRI_YES) && depth < 256; depth++) {
                if (hop->power_switch == TRI_YES)
                        return hop;
                hop = hop->has_parent ? host_find_function(h, &hop->parent) : NULL;
        }
        return NULL;
}

static int run_power_state(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *finding;

        (void) q;
        if (f->config_dead == TRI_YES) {
                finding = check_add(c, f, l, VERDICT_FAIL, "%s does not answer: its config space reads all ones", address);
                (void) finding_evidence(finding, "/sys/bus/pci/devices/%s/config begins with 64 bytes of ff", address);
                (void) finding_remedy(finding, "Switch the host off and on again (a restart may not be enough); if it stays so, reseat or "
                                               "replace the card.");
                return check_result(finding);
        }
        const PciFunction *cut = h->idle_d3_disabled == TRI_YES ? NULL : power_cut(h, f);
        if (cut) {
                finding = check_add(c, f, l, VERDICT_WARN, "%s may lose power (D3cold) while no guest runs, and not come back", address);
                (void) finding_evidence(finding, "/sys/bus/pci/devices/%s/d3cold_allowed is 1", address);
                (void) finding_evidence(finding, "/sys/bus/pci/devices/%s/firmware_node/power_resources_D3hot exists%s",
                                        PCI_ADDRESS_STR(&cut->address), cut == f ? "" : ", power/control is auto");
                (void) finding_remedy(finding, "echo 0 > /sys/bus/pci/devices/%s/d3cold_allowed (until the next boot), or load vfio-pci "
                                               "with disable_idle_d3=1.", address);
                return check_result(finding);
        }
        if (f->config_dead == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "config space could not be read"));
        if (f->d3cold_allowed == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "it answers; d3cold_allowed could not be read"));
        return check_result(check_add(c, f, l, VERDICT_PASS, "it answers, and nothing cuts its power"));
}

const Check check_power_state = {
        .id = "power-state", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller answers and stays powered", .run = run_power_state,
};

/* -- vmd-or-remapped ----------------------------------------------------------------------------------------------------- */

/* Domains of 16 bits are the firmware's; wider ones are made by a device such as VMD (vmd_find_free_domain,
 * drivers/pci/controller/vmd.c), under whose address all behind it does DMA. */
static bool is_behind_device(const PciFunction *f) {
        return f->address.domain > 0xffff;
}

static int run_vmd_or_remapped(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        Finding *fail;

        (void) h;
        (void) q;
        if (is_behind_device(f)) {
                fail = check_add(c, f, l, VERDICT_FAIL, "%s is behind an Intel VMD: it cannot be handed over by itself",
                                 PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "PCI domain %x is not one of the firmware's", f->address.domain);
                (void) finding_remedy(fail, "Turn VMD off in the firmware setup (the host's own drives change their names with it), or "
                                            "assign the whole VMD.");
                return check_result(fail);
        }
        if (f->remapped_nvme > 0) {
                fail = check_add(c, f, l, VERDICT_FAIL, "%u NVMe drives are hidden behind SATA controller %s (Intel RST)", f->remapped_nvme,
                                 PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/remapped_nvme is %u", PCI_ADDRESS_STR(&f->address),
                                        f->remapped_nvme);
                (void) finding_remedy(fail, "Switch SATA from RAID or RST to AHCI in the firmware setup: the drives become controllers of "
                                            "their own. Save what is on them first.");
                return check_result(fail);
        }
        return check_result(check_add(c, f, l, VERDICT_PASS, "it is a controller of its own"));
}

const Check check_vmd_or_remapped = {
        .id = "vmd-or-remapped", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "nothing stands between the controller and the host", .run = run_vmd_or_remapped,
};
