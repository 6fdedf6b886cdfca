/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host does with the disks behind a controller. The kernel refuses no unbind of a controller whose disks are in
 * use: the disk vanishes under the file system. These checks, and the exclusive hold at the moment of binding, are the guard.
 */
#include "check/family.h"

static const char *name_of(const Disk *d, char *buffer, size_t size) {
        (void) snprintf(buffer, size, "%s%s%s%s", d->name, d->serial ? " (serial " : "", d->serial ? d->serial : "",
                        d->serial ? ")" : "");
        return buffer;
}

/* -- host-disk-use ------------------------------------------------------------------------------------------------------- */

static bool is_in_use(const DiskUse *u) {
        return u->kind != DISK_USE_CONFIGURED;
}

static const char *advice(DiskUseKind k) {
        switch (k) {
        case DISK_USE_MOUNT:
                return "Unmount it (umount), and take it out of /etc/fstab if it is there.";
        case DISK_USE_SWAP:
                return "Stop swapping to it (swapoff), and take it out of /etc/fstab if it is there.";
        case DISK_USE_HOLDER:
                return "Stop what is built on it (dmsetup remove, vgchange -an, mdadm --stop, cryptsetup close).";
        case DISK_USE_GUEST:
                return "Take the disk out of that guest's definition (virsh detach-disk --config).";
        default:
                return "Stop the process that has it open; `fuser -v /dev/NAME` names it.";
        }
}

static int add_disk_use(const Check *c, const PciFunction *f, const Disk *d, FindingList *l) {
        DiskUseKind worst = _DISK_USE_MAX;
        Finding *fail = NULL;
        char name[256];

        for (size_t i = 0; i < d->n_uses; i++) {
                if (!is_in_use(&d->uses[i]))
                        continue;
                if (!fail)
                        fail = check_add(c, f, l, VERDICT_FAIL, "disk %s behind %s is in use: %s", name_of(d, name, sizeof name),
                                         PCI_ADDRESS_STR(&f->address), d->uses[i].chain);
                if (!fail || finding_evidence(fail, "%s: %s", disk_use_kind_to_string(d->uses[i].kind), d->uses[i].chain) < 0)
                        return check_result(NULL);
                if (d->uses[i].kind < worst)
                        worst = d->uses[i].kind;
        }
        return fail ? finding_remedy(fail, "%s", advice(worst)) : 0;
}

static int run_host_disk_use(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        size_t before = l->n, disks = 0;
        const Disk *unopened = NULL;
        char name[256];

        (void) q;
        for (size_t i = 0; i < h->n_disks; i++) {
                if (!pci_address_equal(&h->disks[i].controller, &f->address))
                        continue;
                disks++;
                if (h->exclusive_tried && h->disks[i].exclusive == TRI_UNKNOWN)
                        unopened = &h->disks[i];
                int r = add_disk_use(c, f, &h->disks[i], l);
                if (r < 0)
                        return r;
        }
        if (l->n > before)
                return 0;
        if (!h->uses_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "mounts and swap areas could not be read"));
        if (unopened)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "disk %s could not be opened to see whether it is in use",
                                              name_of(unopened, name, sizeof name)));
        return check_result(check_add(c, f, l, VERDICT_PASS, "the host uses none of the %zu disks", disks));
}

const Check check_host_disk_use = {
        .id = "host-disk-use", .kind = CHECK_HARD, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the host uses no disk behind the controller", .run = run_host_disk_use,
};

/* -- host-boot-path ------------------------------------------------------------------------------------------------------ */

static int run_host_boot_path(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        Finding *fail = NULL;
        char name[256];

        (void) q;
        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                if (!pci_address_equal(&d->controller, &f->address))
                        continue;
                for (size_t j = 0; j < d->n_uses; j++) {
                        if (!d->uses[j].boot)
                                continue;
                        if (!fail)
                                fail = check_add(c, f, l, VERDICT_FAIL, "the host needs disk %s behind %s to boot or run: %s",
                                                 name_of(d, name, sizeof name), PCI_ADDRESS_STR(&f->address), d->uses[j].chain);
                        if (!fail || finding_evidence(fail, "%s: %s", disk_use_kind_to_string(d->uses[j].kind), d->uses[j].chain) < 0)
                                return check_result(NULL);
                }
        }
        if (fail)
                return finding_remedy(fail, "Move the host's system to a disk on another controller, or take what names the disk out of "
                                            "/etc/fstab, /etc/crypttab and the kernel's command line.");
        if (!h->uses_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "mounts and swap areas could not be read"));
        return check_result(check_add(c, f, l, VERDICT_PASS, "the host boots and runs without it"));
}

const Check check_host_boot_path = {
        .id = "host-boot-path", .kind = CHECK_HARD, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the host boots and runs without the controller", .run = run_host_boot_path,
};

/* -- disk-shared-path ---------------------------------------------------------------------------------------------------- */

/* The same disk: one NVMe subsystem behind two controllers, or one dual-ported disk behind two HBAs. */
static bool same_disk(const Disk *a, const Disk *b) {
        return str_equal(a->name, b->name) || (a->wwn && str_equal(a->wwn, b->wwn));
}

static const Disk *other_path(const Host *h, const CheckRequest *q, const PciFunction *f, const Disk *d) {
        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *o = &h->disks[i];
                if (!pci_address_equal(&o->controller, &f->address) && !request_has(q, &o->controller) && same_disk(o, d))
                        return o;
        }
        return NULL;
}

static int run_disk_shared_path(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        char name[256];

        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                const Disk *o = pci_address_equal(&d->controller, &f->address) ? other_path(h, q, f, d) : NULL;
                if (!o)
                        continue;
                Finding *fail = check_add(c, f, l, VERDICT_FAIL, "disk %s behind %s is also reached through %s, which the host keeps",
                                          name_of(d, name, sizeof name), PCI_ADDRESS_STR(&f->address), PCI_ADDRESS_STR(&o->controller));
                (void) finding_evidence(fail, "%s behind %s and %s behind %s are one disk: %s", d->name, PCI_ADDRESS_STR(&f->address),
                                        o->name, PCI_ADDRESS_STR(&o->controller), d->wwn ? d->wwn : d->name);
                (void) finding_remedy(fail, "Assign both controllers together, or take the other cable or path away.");
                return check_result(fail);
        }
        return check_result(check_add(c, f, l, VERDICT_PASS, "no disk is reached by a controller that the host keeps"));
}

const Check check_disk_shared_path = {
        .id = "disk-shared-path", .kind = CHECK_HARD, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "no disk is reached by a controller that the host keeps", .run = run_disk_shared_path,
};
