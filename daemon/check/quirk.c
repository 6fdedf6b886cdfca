/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the hardware database tells of the controller, the bridges above it and the other members of its group. */
#include "check/family.h"

static int add_quirk(const Check *c, const PciFunction *f, const PciFunction *about, const Quirk *quirk, FindingList *l) {
        int verdict = verdict_from_string(quirk->severity);

        /* "none" takes a record back; what is no verdict says nothing */
        if (verdict != VERDICT_INFO && verdict != VERDICT_WARN && verdict != VERDICT_FAIL)
                return 0;
        Finding *finding = check_add(c, f, l, (Verdict) verdict, "%s %s", PCI_ADDRESS_STR(&about->address),
                                     quirk->reason ? quirk->reason : "has a quirk that is not described");
        (void) finding_evidence(finding, "%s: %04x:%04x; source: %s", quirk->name, about->vendor, about->device,
                                quirk->source ? quirk->source : "the record names none");
        if (quirk->remedy)
                (void) finding_remedy(finding, "%s", quirk->remedy);
        else if (verdict != VERDICT_INFO)
                (void) finding_remedy(finding, "See the source.");
        return check_result(finding);
}

static int add_quirks(const Check *c, const PciFunction *f, const PciFunction *about, FindingList *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < about->n_quirks; i++)
                r = add_quirk(c, f, about, &about->quirks[i], l);
        return r;
}

static bool is_above(const Host *h, const PciFunction *f, const PciFunction *bridge) {
        for (int depth = 0; f && f->has_parent && depth < 256; depth++) {
                if (pci_address_equal(&f->parent, &bridge->address))
                        return true;
                f = host_find_function(h, &f->parent);
        }
        return false;
}

static int run_hardware_quirk(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        size_t before = l->n;

        (void) q;
        if (h->quirks_known != TRI_YES) {
                Finding *skip = check_add(c, f, l, VERDICT_SKIP, "the hardware database has no records of passthru");
                (void) finding_remedy(skip, "systemd-hwdb update, with 70-passthru.hwdb in /usr/lib/udev/hwdb.d");
                return check_result(skip);
        }
        int r = add_quirks(c, f, f, l);
        for (size_t i = 0; r >= 0 && i < h->n_functions; i++) {
                const PciFunction *other = &h->functions[i];
                if (other != f && other->n_quirks > 0 && ((f->group >= 0 && other->group == f->group) || is_above(h, f, other)))
                        r = add_quirks(c, f, other, l);
        }
        if (r < 0 || l->n > before)
                return r;
        return check_result(check_add(c, f, l, VERDICT_PASS, "nothing unusual is known of this hardware"));
}

const Check check_hardware_quirk = {
        .id = "hardware-quirk", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "nothing unusual is known of the controller's hardware", .run = run_hardware_quirk,
};
