/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's IOMMU, the kernel's VFIO, and memory that firmware claims. */
#include "check/family.h"

/* -- iommu-enabled ----------------------------------------------------------------------------------------------------- */

static const char *disabling_word(const Host *h) {
        static const char *const words[] = { "intel_iommu=off", "iommu=off", "amd_iommu=off" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (command_line_has(h, words[i]))
                        return words[i];
        return NULL;
}

static int explain_unknown(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "the kernel uses no IOMMU");

        (void) finding_evidence(fail, "/sys/class/iommu is empty");
        if (h->command_line)
                (void) finding_evidence(fail, "/proc/cmdline: %s", h->command_line);
        (void) finding_remedy(fail, "On Intel machines add intel_iommu=on to the kernel's command line and reboot; see that VT-d or "
                                 "AMD-Vi is enabled in the firmware setup.");
        return check_result(fail);
}

/* The firmware offers one: it is the kernel that does not use it. */
static int explain_kernel(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        bool intel = str_equal(h->firmware_table, "DMAR"), told = command_line_has(h, "intel_iommu=on");
        const char *option = intel ? "CONFIG_INTEL_IOMMU" : "CONFIG_AMD_IOMMU";
        const char *release = h->kernel_release ? h->kernel_release : "";
        Finding *fail;

        if (h->iommu_built == TRI_NO) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the kernel was built without the driver for the IOMMU that the firmware offers");
                (void) finding_evidence(fail, "/boot/config-%s does not have %s=y", release, option);
                (void) finding_remedy(fail, "Boot a kernel with %s.", option);
        } else if (intel && h->iommu_default_on == TRI_NO && !told) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the kernel leaves the IOMMU off unless it is told to use it");
                (void) finding_evidence(fail, "/boot/config-%s does not have CONFIG_INTEL_IOMMU_DEFAULT_ON=y", release);
                (void) finding_remedy(fail, "Add intel_iommu=on to the kernel's command line and reboot.");
        } else {
                fail = check_add(c, f, l, VERDICT_FAIL, "the kernel uses no IOMMU, though the firmware offers one");
                (void) finding_remedy(fail, "%s`dmesg | grep -i -e DMAR -e IOMMU -e AMD-Vi` tells why the kernel rejected it; look for "
                                            "a firmware update.", intel && !told ? "Add intel_iommu=on to the kernel's command line and "
                                                                                   "reboot. If that does not help, " : "");
        }
        (void) finding_evidence(fail, "/sys/firmware/acpi/tables/%s exists, /sys/class/iommu is empty", h->firmware_table);
        if (h->command_line)
                (void) finding_evidence(fail, "/proc/cmdline: %s", h->command_line);
        return check_result(fail);
}

static int explain_no_iommu(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        const char *word = disabling_word(h);
        Finding *fail;

        if (word) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the kernel's command line turns the IOMMU off: %s", word);
                (void) finding_evidence(fail, "/proc/cmdline: %s", h->command_line);
                (void) finding_remedy(fail, "Take %s off the kernel's command line and reboot.", word);
                return check_result(fail);
        }
        /* DMAR and IVRS are tables of x86 */
        if (h->firmware_iommu == TRI_NO && host_is_x86(h)) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the firmware offers no IOMMU");
                (void) finding_evidence(fail, "/sys/firmware/acpi/tables has neither DMAR (Intel) nor IVRS (AMD)");
                (void) finding_remedy(fail, "Enable VT-d (Intel) or AMD-Vi/IOMMU (AMD) in the firmware setup. Without such an option "
                                         "the machine cannot hand over controllers.");
                return check_result(fail);
        }
        return h->firmware_table ? explain_kernel(c, h, f, l) : explain_unknown(c, h, f, l);
}

static int run_iommu_enabled(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        (void) q;
        if (h->n_iommu_units > 0) {
                Finding *pass = check_add(c, f, l, VERDICT_PASS, "the IOMMU is on");
                for (size_t i = 0; i < h->n_iommu_units; i++)
                        (void) finding_evidence(pass, "/sys/class/iommu/%s", h->iommu_units[i]);
                return check_result(pass);
        }
        if (h->iommu_class_known != TRI_YES)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/sys/class/iommu could not be read"));
        return explain_no_iommu(c, h, f, l);
}

const Check check_iommu_enabled = {
        .id = "iommu-enabled", .kind = CHECK_IMPOSSIBLE, .scope = CHECK_SCOPE_HOST,
        .summary = "an IOMMU keeps a guest's devices to its own memory", .run = run_iommu_enabled,
};

/* -- vfio-available ------------------------------------------------------------------------------------------------------ */

static int run_vfio_available(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        (void) q;
        if (h->vfio_pci == TRI_YES)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the kernel has vfio-pci"));
        if (h->vfio_pci == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "it is not known whether the kernel has vfio-pci"));
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "the running kernel has no module vfio-pci");
        (void) finding_evidence(fail, "modinfo vfio-pci finds neither a module nor built-in code");
        (void) finding_remedy(fail, "Boot a kernel with CONFIG_VFIO_PCI; after a kernel update, reboot into the kernel whose "
                                    "modules are installed.");
        return check_result(fail);
}

const Check check_vfio_available = {
        .id = "vfio-available", .kind = CHECK_IMPOSSIBLE, .scope = CHECK_SCOPE_HOST,
        .summary = "the kernel can hand PCI devices to guests", .run = run_vfio_available,
};

/* -- no-iommu-mode ------------------------------------------------------------------------------------------------------- */

static int run_no_iommu_mode(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        Finding *fail = NULL;

        (void) q;
        if (h->vfio_noiommu == TRI_YES) {
                fail = check_add(c, f, l, VERDICT_FAIL, "VFIO's unsafe no-IOMMU mode is enabled: devices could reach all memory");
                (void) finding_evidence(fail, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode is Y");
        }
        for (size_t i = 0; !fail && i < h->n_groups; i++)
                if (h->groups[i].noiommu) {
                        fail = check_add(c, f, l, VERDICT_FAIL, "IOMMU group %d is a no-IOMMU group: it looks isolated and is not",
                                         h->groups[i].number);
                        (void) finding_evidence(fail, "/sys/kernel/iommu_groups/%d/name is vfio-noiommu", h->groups[i].number);
                }
        if (!fail)
                return check_result(check_add(c, f, l, VERDICT_PASS, "VFIO's unsafe no-IOMMU mode is off"));
        (void) finding_remedy(fail, "Take enable_unsafe_noiommu_mode off the kernel's command line and /etc/modprobe.d, and reboot.");
        return check_result(fail);
}

const Check check_no_iommu_mode = {
        .id = "no-iommu-mode", .kind = CHECK_HARD, .scope = CHECK_SCOPE_HOST,
        .summary = "VFIO works through the IOMMU only", .run = run_no_iommu_mode,
};

/* -- reserved-region ----------------------------------------------------------------------------------------------------- */

/* Who in the firmware's table asks for it: an explanation, the kernel's own list decides. */
static void explain_region(const Host *h, const IommuGroup *g, const ReservedRegion *direct, Finding *fail) {
        for (size_t i = 0; i < h->firmware.n_regions; i++) {
                const FirmwareRegion *r = &h->firmware.regions[i];
                if (r->start > direct->end || r->end < direct->start)
                        continue;
                for (size_t j = 0; j < g->n_members; j++) {
                        const PciFunction *m = host_find_function(h, &g->members[j]);
                        if (m && host_region_names(h, r, m))
                                (void) finding_evidence(fail, "the firmware's %s 0x%llx-0x%llx is for %s",
                                                        r->type ? "IVRS table: its IVMD" : "DMAR table: its RMRR",
                                                        (unsigned long long) r->start, (unsigned long long) r->end,
                                                        PCI_ADDRESS_STR(&m->address));
                }
        }
}

/* A direct region bars the group from VFIO and iommufd alike (drivers/iommu/iommu.c, __iommu_group_set_domain with
 * require_direct; before 6.6 intel/iommu.c device_is_rmrr_locked). Relaxable ones (graphics, USB) do not. */
static int run_reserved_region(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const IommuGroup *g = host_find_group(h, f->group);
        Finding *fail = NULL;

        (void) q;
        if (!g)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "%s has no IOMMU group", PCI_ADDRESS_STR(&f->address)));
        for (size_t i = 0; i < g->n_regions; i++) {
                if (g->regions[i].kind != REGION_DIRECT)
                        continue;
                if (!fail)
                        fail = check_add(c, f, l, VERDICT_FAIL,
                                         "the firmware demands a fixed memory mapping (RMRR or IVMD) for IOMMU group %d of %s",
                                         g->number, PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "/sys/kernel/iommu_groups/%d/reserved_regions: 0x%llx-0x%llx direct", g->number,
                                        (unsigned long long) g->regions[i].start, (unsigned long long) g->regions[i].end);
                explain_region(h, g, &g->regions[i], fail);
        }
        if (!fail && !g->regions_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the reserved regions of IOMMU group %d could not be read",
                                              g->number));
        if (!fail)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the firmware demands no fixed mapping for IOMMU group %d",
                                              g->number));
        (void) finding_remedy(fail, "The kernel refuses such a device to guests. Turn off the firmware option that makes it (on HPE "
                                    "servers \"HP Shared Memory features\" for the slot), update the firmware, or use another "
                                    "controller or slot.");
        return check_result(fail);
}

const Check check_reserved_region = {
        .id = "reserved-region", .kind = CHECK_IMPOSSIBLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "firmware claims no memory for the controller", .run = run_reserved_region,
};
