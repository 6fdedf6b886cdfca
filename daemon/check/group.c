/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IOMMU groups. The kernel's groups are the truth; a group is viable when every member has no driver, or one that does not
 * use DMA on its own: vfio-*, pci-stub, pcieport (iommu_device_use_default_domain, drivers/iommu/iommu.c).
 */
#include "check/acs.h"
#include "check/family.h"

/* -- group-isolated ------------------------------------------------------------------------------------------------------ */

static bool is_obstacle(const CheckRequest *q, const PciFunction *f, const PciFunction *member) {
        return member != f && !request_has(q, &member->address) && !pci_driver_is_vfio_safe(member->driver);
}

/* "0000:00:1f.0 (lpc_ich), 0000:00:1f.3 (i801_smbus)" */
static void print_obstacle(FILE *stream, const PciFunction *m) {
        (void) fprintf(stream, "%s%s (%s)", ftell(stream) > 0 ? ", " : "", PCI_ADDRESS_STR(&m->address), m->driver);
}

/* " 0000:05:00.0 0000:05:00.1": what would have to be named as well. */
static void print_companion(FILE *stream, const PciFunction *m) {
        (void) fprintf(stream, " %s", PCI_ADDRESS_STR(&m->address));
}

static char *print_obstacles(const Host *h, const IommuGroup *g, const CheckRequest *q, const PciFunction *f,
                             void (*print)(FILE *, const PciFunction *)) {
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        for (size_t i = 0; stream && i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                if (m && is_obstacle(q, f, m))
                        print(stream, m);
        }
        return stream && fclose(stream) == 0 ? text : NULL;
}

static bool only_controllers(const Host *h, const IommuGroup *g, const CheckRequest *q, const PciFunction *f) {
        for (size_t i = 0; i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                if (m && is_obstacle(q, f, m) && !pci_function_is_controller(m))
                        return false;
        }
        return true;
}

static int add_obstacles(const Host *h, const IommuGroup *g, const CheckRequest *q, const PciFunction *f, Finding *fail) {
        for (size_t i = 0; i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                if (!m || !is_obstacle(q, f, m))
                        continue;
                _cleanup_free_ char *text = function_describe(m);
                int r = finding_evidence(fail, "the host would lose %s", text ? text : PCI_ADDRESS_STR(&m->address));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* "Why the group is what it is", for people. */
static int add_explanation(const Host *h, const PciFunction *f, Finding *fail) {
        static const char explained[] = "explanation (the kernel's group is what counts)";
        const PciFunction *unknown;
        const char *why = "";
        const PciFunction *gap = acs_first_gap(h, f, &why, &unknown);
        _cleanup_free_ char *hop = gap || unknown ? function_describe(gap ? gap : unknown) : NULL;

        if (unknown)
                return finding_evidence(fail, "%s: not known beyond %s: %s", explained, hop ? hop : "a hop", why);
        if (!gap)
                return finding_evidence(fail, "%s: every hop has ACS; the kernel knows another reason, as in `dmesg | grep -i iommu`",
                                        explained);
        return finding_evidence(fail, "%s: the first hop that does not isolate is %s: %s", explained, hop ? hop : "", why);
}

/* " The slot below 0000:00:1b.0 has a group of its own and is empty."; "" when none is known, NULL when out of memory. */
static char *print_better_slot(const Host *h, const PciFunction *f) {
        const PciFunction *holds = NULL, *port = acs_better_slot(h, f, &holds);
        char *text;

        if (!port)
                return strdup("");
        if (asprintf(&text, " The slot below %s has a group of its own and %s%s.", PCI_ADDRESS_STR(&port->address),
                     holds ? "now holds " : "is empty", holds ? PCI_ADDRESS_STR(&holds->address) : "") < 0)
                return NULL;
        return text;
}

static void add_shared_remedy(const Host *h, const IommuGroup *g, const CheckRequest *q, const PciFunction *f, const char *companions,
                              const char *slot, Finding *fail) {
        if (only_controllers(h, g, q, f))
                (void) finding_remedy(fail, "Assign the controllers of the group together: %s%s; or move the card to a slot with a "
                                            "group of its own.%s", PCI_ADDRESS_STR(&f->address), companions, slot);
        else if (!function_is_card(h, f))
                (void) finding_remedy(fail, "It is part of the mainboard and cannot be moved: use a separate HBA in a slot "
                                            "with a group of its own.%s", slot);
        else
                (void) finding_remedy(fail, "Move the card to another slot, best one of the processor's; onboard controllers cannot "
                                            "be moved: use a separate HBA.%s%s", slot,
                                      *slot || f->pcie_type == PCIE_UNKNOWN ? "" : " No slot with a group of its own was found.");
}

static int explain_shared(const Check *c, const Host *h, const IommuGroup *g, const CheckRequest *q, const PciFunction *f,
                          FindingList *l) {
        _cleanup_free_ char *others = print_obstacles(h, g, q, f, print_obstacle);
        _cleanup_free_ char *companions = print_obstacles(h, g, q, f, print_companion);
        _cleanup_free_ char *slot = print_better_slot(h, f);

        if (!others || !companions || !slot)
                return check_result(NULL);
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "%s shares IOMMU group %d with what the host uses: %s",
                                  PCI_ADDRESS_STR(&f->address), g->number, others);
        if (!fail || add_obstacles(h, g, q, f, fail) < 0 || add_explanation(h, f, fail) < 0)
                return check_result(NULL);
        (void) finding_evidence(fail, "/sys/kernel/iommu_groups/%d/devices lists the members", g->number);
        add_shared_remedy(h, g, q, f, companions, slot, fail);
        return check_result(fail);
}

/* Fails rather than skips: what is not known to be safe is not done. */
static int explain_unread(const Check *c, const Host *h, const IommuGroup *g, const PciFunction *f, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "IOMMU group %d of %s has members that could not be read", g->number,
                                  PCI_ADDRESS_STR(&f->address));

        for (size_t i = 0; i < g->n_members; i++)
                if (!host_find_function(h, &g->members[i]))
                        (void) finding_evidence(fail, "/sys/bus/pci/devices/%s could not be read", PCI_ADDRESS_STR(&g->members[i]));
        (void) finding_remedy(fail, "Try again, as a device may just have been plugged; `lspci -D` shows what is there.");
        return check_result(fail);
}

static int run_group_isolated(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const IommuGroup *g = host_find_group(h, f->group);

        if (!g)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "%s has no IOMMU group", PCI_ADDRESS_STR(&f->address)));
        Tri isolated = host_group_isolated(h, f, q->controllers, q->n_controllers);
        if (isolated != TRI_YES)
                return isolated == TRI_NO ? explain_shared(c, h, g, q, f, l) : explain_unread(c, h, g, f, l);
        return check_result(check_add(c, f, l, VERDICT_PASS, "IOMMU group %d holds nothing else that the host uses", g->number));
}

const Check check_group_isolated = {
        .id = "group-isolated", .kind = CHECK_IMPOSSIBLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller's IOMMU group holds nothing that the host uses", .run = run_group_isolated,
};

/* -- group-platform ------------------------------------------------------------------------------------------------------ */

static const char *platform_device(const PciFunction *f) {
        switch (f->class >> 8) {
        case PCI_CLASS16_HOST_BRIDGE:
                return "a host bridge";
        case PCI_CLASS16_ISA_BRIDGE:
                return "an ISA bridge";
        case PCI_CLASS16_MEMORY:
                return "a memory controller";
        case PCI_CLASS16_SMBUS:
                return "an SMBus controller";
        default:
                return NULL;
        }
}

static char *print_platform(const Host *h, const IommuGroup *g) {
        char *text = NULL;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        for (size_t i = 0; stream && i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                const char *what = m ? platform_device(m) : NULL;
                if (what)
                        (void) fprintf(stream, "%s%s (%s)", ftell(stream) > 0 ? ", " : "", PCI_ADDRESS_STR(&m->address), what);
        }
        return stream && fclose(stream) == 0 ? text : NULL;
}

static int run_group_platform(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const IommuGroup *g = host_find_group(h, f->group);

        (void) q;
        if (!g)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "%s has no IOMMU group", PCI_ADDRESS_STR(&f->address)));
        _cleanup_free_ char *parts = print_platform(h, g);
        if (!parts)
                return check_result(NULL);
        if (!*parts)
                return check_result(check_add(c, f, l, VERDICT_PASS, "IOMMU group %d holds no part of the mainboard", g->number));
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "IOMMU group %d of %s holds parts of the mainboard: %s", g->number,
                                  PCI_ADDRESS_STR(&f->address), parts);
        (void) finding_evidence(fail, "/sys/kernel/iommu_groups/%d/devices lists the members", g->number);
        (void) finding_remedy(fail, "An onboard controller cannot leave its group: use a separate HBA in a slot with a group of its own.");
        return check_result(fail);
}

const Check check_group_platform = {
        .id = "group-platform", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller's IOMMU group holds no part of the mainboard", .run = run_group_platform,
};
