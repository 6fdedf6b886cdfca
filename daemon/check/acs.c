/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check/acs.h"

#include <linux/pci_regs.h>

/* REQ_ACS_FLAGS, drivers/iommu/iommu.c */
#define REQUIRED (PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)

/* Functions without the capability, or with too little in it, that the kernel knows to isolate all the same, or makes to
 * (pci_dev_acs_enabled, drivers/pci/quirks.c). */
static bool is_known(const PciFunction *f) {
        static const struct {
                uint16_t vendor, first, last;
                bool root; /* only on the root bus */
        } known[] = {
                /* Intel chipsets: pci_quirk_intel_pch_acs */
                { 0x8086, 0x3b42, 0x3b51, false }, { 0x8086, 0x1c10, 0x1c1f, false }, { 0x8086, 0x1e10, 0x1e1f, false },
                { 0x8086, 0x8c10, 0x8c1f, false }, { 0x8086, 0x9c10, 0x9c1b, false }, { 0x8086, 0x9c90, 0x9c9b, false },
                { 0x8086, 0x1d10, 0x1d1e, false }, { 0x8086, 0x8d10, 0x8d1e, false }, { 0x8086, 0x8c90, 0x8c9e, false },
                /* AMD southbridges: pci_quirk_amd_sb_acs */
                { 0x1002, 0x4383, 0x4385, true }, { 0x1002, 0x439c, 0x439d, true }, { 0x1002, 0x4399, 0x4399, true },
                { 0x1022, 0x780f, 0x780f, true }, { 0x1022, 0x7809, 0x7809, true },
                /* pci_quirk_xgene_acs, pci_quirk_al_acs, pci_quirk_brcm_acs */
                { 0x10e8, 0xe004, 0xe004, false }, { 0x1def, 0xe005, 0xe00c, false }, { 0x1c36, 0x0031, 0x0031, false },
                { 0x14e4, 0xd714, 0xd714, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (f->vendor == known[i].vendor && f->device >= known[i].first && f->device <= known[i].last &&
                    !(known[i].root && f->has_parent))
                        return true;
        /* Intel's own devices in the root complex: pci_quirk_rciep_acs */
        return f->vendor == 0x8086 && f->pcie_type == PCI_EXP_TYPE_RC_END;
}

/* pci_acs_flags_enabled, drivers/pci/pci.c: what the capability does not list is hardwired. */
static Tri flags_on(const PciFunction *f, const char **ret_why) {
        if (f->acs == TRI_UNKNOWN) {
                *ret_why = "its config space beyond 64 bytes could not be read";
                return TRI_UNKNOWN;
        }
        if (f->acs == TRI_NO) {
                *ret_why = "it has no ACS capability";
                return TRI_NO;
        }
        if ((f->acs_on & f->acs_able & REQUIRED) == (f->acs_able & REQUIRED))
                return TRI_YES;
        *ret_why = "its ACS is not switched on completely";
        return TRI_NO;
}

/* pci_acs_enabled, drivers/pci/pci.c */
Tri acs_isolates(const PciFunction *f, const char **ret_why) {
        if (is_known(f))
                return TRI_YES;
        switch (f->pcie_type) {
        case PCIE_UNKNOWN:
                *ret_why = "its config space beyond 64 bytes could not be read";
                return TRI_UNKNOWN;
        case PCIE_CONVENTIONAL:
                *ret_why = "it is conventional PCI, which has no ACS";
                return TRI_NO;
        case PCI_EXP_TYPE_PCI_BRIDGE:
        case PCI_EXP_TYPE_PCIE_BRIDGE:
                *ret_why = "it is a bridge to conventional PCI, all behind it is one device to the IOMMU";
                return TRI_NO;
        case PCI_EXP_TYPE_RC_EC:
                *ret_why = "it is an event collector";
                return TRI_NO;
        case PCI_EXP_TYPE_ROOT_PORT:
        case PCI_EXP_TYPE_DOWNSTREAM:
                return flags_on(f, ret_why);
        default:
                return f->multifunction ? flags_on(f, ret_why) : TRI_YES;
        }
}

/* A function passes nothing on unless it is one of several of its slot: a conventional one alone in its slot does no harm. */
static bool is_harmless(const PciFunction *f) {
        return !f->multifunction && !pci_function_is_bridge(f);
}

const PciFunction *acs_first_gap(const Host *h, const PciFunction *f, const char **ret_why, const PciFunction **ret_unknown) {
        const PciFunction *hop = f;

        *ret_unknown = NULL;
        /* A tree of buses is at most 256 deep: a loop in a bad recording ends here. */
        for (int depth = 0; hop && depth < 256; depth++) {
                Tri isolates = is_harmless(hop) ? TRI_YES : acs_isolates(hop, ret_why);
                if (isolates == TRI_NO)
                        return hop;
                if (isolates == TRI_UNKNOWN) {
                        *ret_unknown = hop;
                        return NULL;
                }
                const PciFunction *above = hop->has_parent ? host_find_function(h, &hop->parent) : NULL;
                if (hop->has_parent && !above) {
                        *ret_why = "the bridge above it could not be read";
                        *ret_unknown = hop;
                        return NULL;
                }
                hop = above;
        }
        return NULL;
}

static bool is_port(const PciFunction *f) {
        return f->pcie_type == PCI_EXP_TYPE_ROOT_PORT || f->pcie_type == PCI_EXP_TYPE_DOWNSTREAM;
}

static const PciFunction *first_below(const Host *h, const PciFunction *port) {
        for (size_t i = 0; i < h->n_functions; i++)
                if (h->functions[i].has_parent && pci_address_equal(&h->functions[i].parent, &port->address))
                        return &h->functions[i];
        return NULL;
}

static bool is_separate(const Host *h, const PciFunction *f, const PciFunction *port) {
        const IommuGroup *g = host_find_group(h, port->group);
        const PciFunction *unknown;
        const char *why;

        if (!g || port->group == f->group || acs_first_gap(h, port, &why, &unknown) || unknown)
                return false;
        for (size_t i = 0; i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                if (!m || !pci_function_is_bridge(m))
                        return false;
        }
        return true;
}

const PciFunction *acs_better_slot(const Host *h, const PciFunction *f, const PciFunction **ret_holds) {
        const PciFunction *found = NULL;

        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *port = &h->functions[i];
                if (!is_port(port) || !port->slot || !pci_function_is_bridge(port) || !is_separate(h, f, port))
                        continue;
                const PciFunction *holds = first_below(h, port);
                if (found && holds)
                        continue;
                found = port;
                *ret_holds = holds;
                if (!holds)
                        break;
        }
        return found;
}

/* A port says in its PCI Express capability whether its link ends in a slot or on the board (PCI Express Base Specification 5.0,
 * section 7.5.3.2). */
bool function_is_card(const Host *h, const PciFunction *f) {
        const PciFunction *port = f->has_parent ? host_find_function(h, &f->parent) : NULL;

        return f->has_parent && !(port && is_port(port) && !port->slot);
}
