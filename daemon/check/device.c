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
