/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host does with the disks behind a controller. The kernel refuses no unbind of a controller whose disks are in
 * use: the disk vanishes under the file system. These checks, and the exclusive hold at the moment of binding, are the guard.
 */
#include "check/family.h"

#include <errno.h>

#include "model/wwn.h"

static const char *name_of(const Disk *d, char *buffer, size_t size) {
        (void) snprintf(buffer, size, "%s%s%s%s", d->name, d->serial ? " (serial " : "", d->serial ? d->serial : "",
                        d->serial ? ")" : "");
        return buffer;
}

/* -- host-disk-use ------------------------------------------------------------------------------------------------------- */

static bool is_in_use(const DiskUse *u) {
        return u->kind != DISK_USE_CONFIGURED;
}

/* What stands on it is told, too: "sdb → md0" goes without saying beside "sdb → md0 → /srv". */
static bool is_told_by_another(const Disk *d, const DiskUse *u) {
        size_t n = strlen(u->chain);

        for (size_t i = 0; i < d->n_uses; i++)
                if (is_in_use(&d->uses[i]) && strncmp(d->uses[i].chain, u->chain, n) == 0 &&
                    strncmp(d->uses[i].chain + n, " → ", strlen(" → ")) == 0)
                        return true;
        return false;
}

/* How each kind of use is ended. The kinds go from the top of a stack down. */
static const char *const advice[_DISK_USE_MAX] = {
        [DISK_USE_MOUNT] = "Unmount it (umount), and take it out of /etc/fstab if it is there.",
        [DISK_USE_SWAP] = "Stop swapping to it (swapoff), and take it out of /etc/fstab if it is there.",
        [DISK_USE_GUEST] = "Take the disk out of that guest's definition (virsh detach-disk --config).",
        [DISK_USE_TARGET] = "Take it out of the storage target (targetcli, nvmetcli).",
        [DISK_USE_PROCESS] = "End the process that has it open.",
        [DISK_USE_LOOP] = "Detach the loop device (losetup -d).",
        [DISK_USE_LVM] = "Deactivate the volume group (vgchange -an).",
        [DISK_USE_CRYPT] = "Close the encrypted volume (cryptsetup close).",
        [DISK_USE_MULTIPATH] = "Flush the multipath map (multipath -f), and keep multipathd off the disk.",
        [DISK_USE_DM] = "Remove the mapping (dmsetup remove).",
        [DISK_USE_BTRFS] = "Unmount the btrfs, which is on all of its devices.",
        [DISK_USE_ZFS] = "Export the pool (zpool export).",
        [DISK_USE_BCACHE] = "Stop the bcache device (echo 1 > /sys/block/bcacheN/bcache/stop, or /sys/fs/bcache/UUID/stop).",
        [DISK_USE_MD] = "Stop the array (mdadm --stop).",
        [DISK_USE_HOLDER] = "Stop what is built on it; `lsblk` shows it.",
        [DISK_USE_EXCLUSIVE] = "Stop what claims it; `lsblk` and `fuser -v` on its node may name it.",
};

static int add_remedy(Finding *f, const bool kinds[_DISK_USE_MAX]) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return -ENOMEM;
        for (DiskUseKind k = 0; k < _DISK_USE_MAX; k++)
                if (kinds[k] && advice[k])
                        (void) fprintf(stream, "%s%s", ftell(stream) > 0 ? " " : "", advice[k]);
        return fclose(stream) != 0 ? -ENOMEM : finding_remedy(f, "%s", text);
}

static int add_disk_use(const Check *c, const PciFunction *f, const Disk *d, FindingList *l) {
        bool kinds[_DISK_USE_MAX] = {};
        Finding *fail = NULL;
        char name[256];

        for (size_t i = 0; i < d->n_uses; i++) {
                const DiskUse *u = &d->uses[i];
                if (!is_in_use(u))
                        continue;
                kinds[u->kind] = true;
                if (is_told_by_another(d, u))
                        continue;
                if (!fail)
                        fail = check_add(c, f, l, VERDICT_FAIL, "disk %s behind %s is in use: %s", name_of(d, name, sizeof name),
                                         PCI_ADDRESS_STR(&f->address), u->chain);
                if (!fail || finding_evidence(fail, "%s: %s", disk_use_kind_to_string(u->kind), u->chain) < 0)
                        return check_result(NULL);
        }
        return fail ? add_remedy(fail, kinds) : 0;
}

static int add_controller_uses(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        Finding *fail = NULL;

        for (size_t i = 0; i < h->n_controller_uses; i++) {
                const ControllerUse *u = &h->controller_uses[i];
                if (!pci_address_equal(&u->controller, &f->address))
                        continue;
                if (!fail)
                        fail = check_add(c, f, l, VERDICT_FAIL, "a device behind %s is in use: %s", PCI_ADDRESS_STR(&f->address),
                                         u->chain);
                if (!fail || finding_evidence(fail, "%s: %s", disk_use_kind_to_string(DISK_USE_PROCESS), u->chain) < 0)
                        return check_result(NULL);
        }
        return fail ? finding_remedy(fail, "%s", advice[DISK_USE_PROCESS]) : 0;
}

/* SPDK and the like: the kernel sees none of the disks, so nothing else tells who uses them. */
static int add_program(const Check *c, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "%s is bound to %s, and passthru did not bind it: a program drives its disks", address,
                                  f->driver);

        (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/driver leads to %s", address, f->driver);
        (void) finding_remedy(fail, "Let what bound it give it back to the host first (of SPDK: scripts/setup.sh reset), then try again.");
        return check_result(fail);
}

static int skip_disk_use(const Check *c, const Host *h, const PciFunction *f, const Disk *unopened, FindingList *l) {
        char name[256];

        if (!h->uses_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "mounts and swap areas could not be read"));
        if (!h->exclusive_tried)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "nobody has tried to open its disks, and no file tells who has; a "
                                                                     "recording of `passthructl record` does"));
        if (unopened)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "disk %s could not be opened to see whether it is in use",
                                              name_of(unopened, name, sizeof name)));
        return check_result(check_add(c, f, l, VERDICT_SKIP, "which processes have its disks open could not be read"));
}

static int run_host_disk_use(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        size_t before = l->n, disks = 0;
        const Disk *unopened = NULL;

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
        int r = add_controller_uses(c, h, f, l);
        if (r >= 0 && pci_driver_is_uio(f->driver))
                r = add_program(c, f, l);
        if (r < 0 || l->n > before)
                return r;
        if (!h->uses_known || !h->exclusive_tried || unopened || !h->openers_known)
                return skip_disk_use(c, h, f, unopened, l);
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
        char of_a[WWN_MAX], of_b[WWN_MAX];

        return str_equal(a->name, b->name) || (wwn_normal(a->wwn, of_a) && wwn_normal(b->wwn, of_b) && str_equal(of_a, of_b));
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
