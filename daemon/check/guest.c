/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that have, or would have, the controller or a disk behind it. */
#include "check/family.h"

const Guest *request_guest(const Host *h, const CheckRequest *q) {
        return q->guest && h->guests_known ? host_find_guest(h, q->guest) : NULL;
}

int check_skip_guest(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *subject = f ? PCI_ADDRESS_STR(&f->address) : q->guest;

        if (h->guests_known)
                return check_result(finding_add(l, c->id, c->kind, VERDICT_SKIP, subject, "libvirt has no guest %s", q->guest));
        return check_result(finding_add(l, c->id, c->kind, VERDICT_SKIP, subject, "the guests are not known: %s",
                                        h->guests_problem ? h->guests_problem : "no libvirt"));
}

static bool is_behind(const GuestDrive *d, const PciAddress *a) {
        for (size_t i = 0; i < d->n_controllers; i++)
                if (pci_address_equal(&d->controllers[i], a))
                        return true;
        return false;
}

/* -- guest-conflict ------------------------------------------------------------------------------------------------------ */

static bool is_other_guest(const CheckRequest *q, const char *guest) {
        return !q->guest || !str_equal(q->guest, guest);
}

static int add_owner(const Check *c, const PciFunction *f, const char *address, const char *guest, const char *evidence, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "%s belongs to guest %s", address, guest);

        if (finding_evidence(fail, "%s", evidence) < 0)
                return check_result(NULL);
        return finding_remedy(fail, "Take it from guest %s first: passthructl release %s, or virsh edit %s.", guest, address, guest);
}

/* The name says whose it is. */
static int advise_session(Finding *f, const Guest *g) {
        return finding_remedy(f, "Have it taken from guest %s first, by that user: virsh -c qemu:///session edit.", g->name);
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
                        int r = add_owner(c, f, address, g->name,
                                          g->devices[j].nvme ? "virsh dumpxml shows a disk of type nvme, which takes the whole controller"
                                                             : "virsh dumpxml shows the host device", l);
                        if (r >= 0 && g->session)
                                r = advise_session(&l->items[l->n - 1], g);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

/* A SCSI device behind the member that another guest has directly. */
static int check_scsi_devices(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, const PciAddress *a,
                              FindingList *l) {
        for (size_t i = 0; i < h->n_guests; i++) {
                const Guest *g = &h->guests[i];
                for (size_t j = 0; j < g->n_drives; j++) {
                        const GuestDrive *d = &g->drives[j];
                        if (!is_other_guest(q, g->name) || !d->scsi_device || !is_behind(d, a))
                                continue;
                        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "guest %s has the SCSI device %s behind %s", g->name, d->name,
                                                  PCI_ADDRESS_STR(a));
                        if (finding_evidence(fail, "virsh dumpxml shows the host device") < 0)
                                return check_result(NULL);
                        int r = g->session ? advise_session(fail, g)
                                           : finding_remedy(fail, "Take that <hostdev> from guest %s first: virsh edit %s.", g->name,
                                                            g->name);
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
        if (r >= 0)
                r = check_scsi_devices(c, h, q, f, a, l);
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

/* -- guest-disk-on-controller -------------------------------------------------------------------------------------------- */

const GuestDrive *guest_boot_drive(const Guest *g) {
        const GuestDrive *found = NULL;

        for (size_t i = 0; i < g->n_drives; i++) {
                const GuestDrive *d = &g->drives[i];
                if (!d->fixed)
                        continue;
                if (!found || (d->boot_order && (!found->boot_order || d->boot_order < found->boot_order)))
                        found = d;
        }
        return found;
}

static int add_own_drive(const Check *c, const Guest *g, const GuestDrive *d, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *fail;

        if (d->scsi_device)
                fail = check_add(c, f, l, VERDICT_FAIL, "guest %s has the SCSI device %s behind %s already", g->name, d->name, address);
        else
                fail = check_add(c, f, l, VERDICT_FAIL, "guest %s has its %sdisk %s behind %s", g->name,
                                 d == guest_boot_drive(g) ? "boot " : "", d->name, address);
        (void) finding_evidence(fail, "virsh dumpxml %s shows it", g->name);
        for (size_t i = 0; i < d->n_sources; i++)
                (void) finding_evidence(fail, "it lies on %s", d->sources[i]);
        if (d->pool)
                (void) finding_evidence(fail, "it is volume %s of storage pool %s", d->volume ? d->volume : "", d->pool);
        if (d->scsi_device)
                return finding_remedy(fail, "Take that <hostdev> out with virsh edit %s: with the controller the guest has it anyway.",
                                      g->name);
        return finding_remedy(fail, "Move it to a disk on another controller, or take it out (virsh detach-disk %s %s --config): the "
                                    "guest cannot have a disk from the host that leaves the host with the controller.", g->name,
                              d->name);
}

static int add_own_nvme(const Check *c, const Guest *g, const PciFunction *f, FindingList *l) {
        for (size_t i = 0; i < g->n_devices; i++) {
                if (!g->devices[i].nvme || !pci_address_equal(&g->devices[i].address, &f->address))
                        continue;
                Finding *fail = check_add(c, f, l, VERDICT_FAIL, "guest %s has %s as a disk of type nvme", g->name,
                                          PCI_ADDRESS_STR(&f->address));
                (void) finding_evidence(fail, "virsh dumpxml %s: QEMU's own NVMe driver takes the whole controller", g->name);
                return finding_remedy(fail, "Take that <disk> out with virsh edit %s; then the guest can have the controller itself.",
                                      g->name);
        }
        return 0;
}

static int run_guest_disk_on_controller(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);
        const GuestDrive *unknown = NULL;
        size_t before = l->n;

        if (!q->guest)
                return 0;
        /* A guest that libvirt does not have yet, for which the controller is only reserved, has no disks either. */
        if (!g && h->guests_known)
                return check_result(check_add(c, f, l, VERDICT_PASS, "libvirt has no guest %s, so none of its disks", q->guest));
        if (!g)
                return check_skip_guest(c, h, q, f, l);
        int r = add_own_nvme(c, g, f, l);
        for (size_t i = 0; r >= 0 && i < g->n_drives; i++) {
                if (g->drives[i].problem)
                        unknown = &g->drives[i];
                if (is_behind(&g->drives[i], &f->address))
                        r = add_own_drive(c, g, &g->drives[i], f, l);
        }
        if (r < 0 || l->n > before)
                return r;
        if (unknown)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "where disk %s of guest %s lies is not known: %s", unknown->name,
                                              g->name, unknown->problem));
        return check_result(check_add(c, f, l, VERDICT_PASS, "no disk of guest %s lies behind it", g->name));
}

const Check check_guest_disk_on_controller = {
        .id = "guest-disk-on-controller", .kind = CHECK_HARD, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "no disk of the guest itself lies behind the controller", .run = run_guest_disk_on_controller,
};
