/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that have, or would have, the controller. */
#include "check/family.h"

static bool is_other_guest(const CheckRequest *q, const char *guest) {
        return !q->guest || !str_equal(q->guest, guest);
}

static int add_owner(const Check *c, const PciFunction *f, const char *address, const char *guest, const char *evidence, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "%s belongs to guest %s", address, guest);

        if (finding_evidence(fail, "%s", evidence) < 0)
                return check_result(NULL);
        return finding_remedy(fail, "Take it from guest %s first: passthructl release %s, or virsh edit %s.", guest, address, guest);
}

/* A device of the group in another guest's definition: two guests cannot own one group. */
static int check_definitions(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, const PciAddress *a,
                             FindingList *l) {
        const char *address = PCI_ADDRESS_STR(a);

        for (size_t i = 0; i < h->n_guests; i++) {
                const Guest *g = &h->guests[i];
                for (size_t j = 0; j < g->n_devices; j++) {
                        if (!pci_address_equal(&g->devices[j].address, a) || !is_other_guest(q, g->name))
                                continue;
                        /* preflight without a guest: what is assigned as it should be is no conflict */
                        const Assigned *record = host_find_assigned(h, a);
                        if (!q->guest && record && str_equal(record->guest, g->name))
                                continue;
                        int r = add_owner(c, f, address, g->name, "virsh dumpxml shows the host device", l);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int check_member(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, const PciAddress *a, FindingList *l) {
        const Assigned *record = host_find_assigned(h, a);
        size_t before = l->n;

        int r = check_definitions(c, h, q, f, a, l);
        if (r < 0 || l->n > before || !record || !q->guest || str_equal(record->guest, q->guest))
                return r;
        return add_owner(c, f, PCI_ADDRESS_STR(a), record->guest, "/etc/passthru/assignments.d has the assignment", l);
}

static int check_own_definition(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = q->guest ? host_find_guest(h, q->guest) : NULL;

        for (size_t i = 0; g && i < g->n_devices; i++) {
                const GuestDevice *d = &g->devices[i];
                if (!pci_address_equal(&d->address, &f->address) || !d->managed)
                        continue;
                Finding *fail = check_add(c, f, l, VERDICT_FAIL, "guest %s has %s already, with managed='yes'", g->name,
                                          PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "managed='yes' gives the controller back to the host whenever the guest stops");
                (void) finding_remedy(fail, "Remove that <hostdev> with virsh edit %s; assign adds its own.", g->name);
                return check_result(fail);
        }
        return 0;
}

static int run_guest_conflict(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const IommuGroup *g = host_find_group(h, f->group);
        size_t before = l->n;
        int r = 0;

        if (!h->guests_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the guests are not known: %s",
                                              h->guests_problem ? h->guests_problem : "no libvirt"));
        if (!g)
                r = check_member(c, h, q, f, &f->address, l);
        for (size_t i = 0; r >= 0 && g && i < g->n_members; i++)
                r = check_member(c, h, q, f, &g->members[i], l);
        if (r >= 0)
                r = check_own_definition(c, h, q, f, l);
        if (r < 0 || l->n > before)
                return r;
        return check_result(check_add(c, f, l, VERDICT_PASS, "no other guest has it or a member of its group"));
}

const Check check_guest_conflict = {
        .id = "guest-conflict", .kind = CHECK_HARD, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "no other guest has the controller or a member of its group", .run = run_guest_conflict,
};
