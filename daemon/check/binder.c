/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who else would bind the controller, now or at the next boot. */
#include "check/family.h"

/* -- competing-binder ---------------------------------------------------------------------------------------------------- */

static bool is_any(uint32_t wanted, uint32_t is) {
        return wanted == UINT32_MAX || wanted == is;
}

/* pci_match_one_device, drivers/pci/pci.h */
static bool ids_match(const Claim *claim, const PciFunction *f) {
        return is_any(claim->vendor, f->vendor) && is_any(claim->device, f->device) &&
               is_any(claim->subsystem_vendor, f->subsystem_vendor) && is_any(claim->subsystem_device, f->subsystem_device) &&
               ((claim->class ^ f->class) & claim->class_mask) == 0;
}

/* The driver that the host has, or had, for it. */
static const char *host_driver(const Host *h, const PciFunction *f) {
        const Assigned *a = host_find_assigned(h, &f->address);

        if (f->driver && !pci_driver_is_vfio_safe(f->driver))
                return f->driver;
        return a ? a->host_driver : NULL;
}

/* A driver and its module may differ in '-' and '_'. */
static bool same_module(const char *a, const char *b, size_t n) {
        if (strlen(a) != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if ((a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]))
                        return false;
        return true;
}

static int add_override(const Check *c, const PciFunction *f, const Claim *claim, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "driverctl binds %s to %s at each boot", PCI_ADDRESS_STR(&f->address),
                                  claim->driver);

        (void) finding_evidence(fail, "%s: %s", claim->where, claim->text);
        (void) finding_remedy(fail, "Hand it over: `driverctl unset-override %s` (gives it back to the host at once, so first see that "
                                    "the host leaves its disks alone), then assign it.", PCI_ADDRESS_STR(&f->address));
        return check_result(fail);
}

static int add_ids(const Check *c, const PciFunction *f, const Claim *claim, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "vfio-pci takes every card with the ids of %s at boot",
                                  PCI_ADDRESS_STR(&f->address));

        (void) finding_evidence(fail, "%s: %s", claim->where, claim->text);
        (void) finding_remedy(fail, "Hand it over: take the ids out of %s%s, reboot, then assign it. passthru claims this one card, not "
                                    "its twins.", claim->where,
                              str_equal(claim->where, "/proc/cmdline") ? " (the boot loader's configuration)"
                                                                       : ", make the initramfs again (update-initramfs -u)");
        return check_result(fail);
}

/* By itself it only sets the order in which modules are loaded. */
static int add_softdep(const Check *c, const PciFunction *f, const Claim *claim, FindingList *l) {
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "another set-up loads vfio-pci before the driver %s of %s", claim->driver,
                                  PCI_ADDRESS_STR(&f->address));

        (void) finding_evidence(warn, "%s: %s", claim->where, claim->text);
        (void) finding_remedy(warn, "passthru does not need it: take the line out of %s and make the initramfs again "
                                    "(update-initramfs -u).", claim->where);
        return check_result(warn);
}

static int check_claim(const Check *c, const Host *h, const PciFunction *f, const Claim *claim, FindingList *l) {
        const char *driver = host_driver(h, f);

        switch (claim->kind) {
        case CLAIM_DRIVERCTL:
                return pci_address_equal(&claim->address, &f->address) ? add_override(c, f, claim, l) : 0;
        case CLAIM_IDS:
                return ids_match(claim, f) ? add_ids(c, f, claim, l) : 0;
        default:
                return driver && same_module(driver, claim->driver, strlen(claim->driver)) ? add_softdep(c, f, claim, l) : 0;
        }
}

static int add_managed(const Check *c, const PciFunction *f, const char *guest, FindingList *l) {
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "libvirt binds %s whenever guest %s starts, and gives it back to the host "
                                                         "whenever it stops", PCI_ADDRESS_STR(&f->address), guest);

        (void) finding_evidence(fail, "virsh dumpxml %s: the host device has managed='yes'", guest);
        (void) finding_remedy(fail, "Hand it over: shut the guest down, remove that device with virsh edit %s, then assign it: assign "
                                    "adds its own.", guest);
        return check_result(fail);
}

/* virHostdevPreparePCIDevices binds a managed device at each start and gives it back to the host at each stop. */
static int check_managed(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        for (size_t i = 0; i < h->n_guests; i++)
                for (size_t j = 0; j < h->guests[i].n_devices; j++) {
                        const GuestDevice *d = &h->guests[i].devices[j];
                        if (d->managed && !h->guests[i].session && pci_address_equal(&d->address, &f->address))
                                return add_managed(c, f, h->guests[i].name, l);
                }
        return 0;
}

/* Ours is vfio-pci with a record. */
static bool is_ours(const Host *h, const PciFunction *f, const char *driver) {
        return host_find_assigned(h, &f->address) && str_equal(driver, "vfio-pci");
}

static bool has_failed(const FindingList *l, size_t from) {
        for (size_t i = from; i < l->n; i++)
                if (l->items[i].verdict == VERDICT_FAIL)
                        return true;
        return false;
}

/* What nothing above explains, and assign refuses. (uio is a use of the disks: host-disk-use.) */
static int check_foreign(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *fail;

        if (f->driver_override && !is_ours(h, f, f->driver_override)) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the driver override of %s is %s, and passthru did not set it", address,
                                 f->driver_override);
                (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/driver_override is %s", address, f->driver_override);
                (void) finding_remedy(fail, "Remove what sets it (driverctl list-overrides shows driverctl's), then try again.");
                return check_result(fail);
        }
        if (!pci_driver_is_reserving(f->driver) || pci_driver_is_uio(f->driver) || is_ours(h, f, f->driver))
                return 0;
        fail = check_add(c, f, l, VERDICT_FAIL, "%s is bound to %s, and passthru did not bind it", address, f->driver);
        (void) finding_evidence(fail, "/sys/bus/pci/devices/%s/driver leads to %s", address, f->driver);
        (void) finding_remedy(fail, "Let what bound it give it back to the host first, then try again.");
        return check_result(fail);
}

static int run_competing_binder(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        size_t before = l->n;
        int r = check_managed(c, h, f, l);

        (void) q;
        for (size_t i = 0; r >= 0 && i < h->n_claims; i++)
                r = check_claim(c, h, f, &h->claims[i], l);
        if (r >= 0 && !has_failed(l, before))
                r = check_foreign(c, h, f, l);
        if (r < 0 || l->n > before)
                return r;
        if (!h->claims_known)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/proc/cmdline or /etc could not be read"));
        if (!h->guests_known && h->guests_problem)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the guests are not known: %s", h->guests_problem));
        return check_result(check_add(c, f, l, VERDICT_PASS, "no other tool claims it"));
}

const Check check_competing_binder = {
        .id = "competing-binder", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "no other tool binds the controller", .run = run_competing_binder,
};

/* -- driver-builtin ------------------------------------------------------------------------------------------------------ */

/* modules.builtin: "kernel/drivers/ata/ahci.ko" a line */
static bool is_builtin(const char *modules, const char *driver) {
        for (const char *line = modules; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *end = line + strcspn(line, "\n"), *name = end;
                while (name > line && name[-1] != '/')
                        name--;
                if (end - name > 3 && memcmp(end - 3, ".ko", 3) == 0 && same_module(driver, name, (size_t) (end - name) - 3))
                        return true;
        }
        return false;
}

/* A built-in driver binds in pci_bus_add_device, before there is a userspace that could write an override. */
static int run_driver_builtin(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *driver = host_driver(h, f);

        (void) q;
        if (!driver)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the host has no driver for it"));
        if (!h->builtin_modules)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "modules.builtin of the running kernel could not be read"));
        if (!is_builtin(h->builtin_modules, driver))
                return check_result(check_add(c, f, l, VERDICT_PASS, "the host's driver %s is a module", driver));
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "the kernel has %s built in: it takes %s at each boot before anything can claim "
                                                         "it for the guest", driver, PCI_ADDRESS_STR(&f->address));
        (void) finding_evidence(warn, "/lib/modules/%s/modules.builtin lists %s", h->kernel_release ? h->kernel_release : "", driver);
        (void) finding_remedy(warn, "Boot a kernel that has %s as a module. Else the host sees the disks for a moment at each boot: see "
                                    "that nothing on it mounts, imports or assembles them.", driver);
        return check_result(warn);
}

const Check check_driver_builtin = {
        .id = "driver-builtin", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller can be claimed before the host's driver takes it", .run = run_driver_builtin,
};
