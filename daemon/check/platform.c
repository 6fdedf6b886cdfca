/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processor, interrupts and memory of the machine. */
#include "check/family.h"

/* -- cpu-virtualization -------------------------------------------------------------------------------------------------- */

static int run_cpu_virtualization(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        Finding *fail;

        (void) q;
        if (host_is_x86(h) && h->cpu_virtualization == TRI_NO) {
                fail = check_add(c, f, l, VERDICT_FAIL, "the processor offers no virtualization");
                (void) finding_evidence(fail, "/proc/cpuinfo: the flags have neither vmx (Intel) nor svm (AMD)");
                (void) finding_remedy(fail, "Enable VT-x (Intel) or SVM (AMD) in the firmware setup. Inside a virtual machine its host "
                                            "must allow nested virtualization.");
                return check_result(fail);
        }
        if (h->kvm == TRI_NO) {
                fail = check_add(c, f, l, VERDICT_FAIL, "KVM does not work: there is no /dev/kvm");
                (void) finding_evidence(fail, "/sys/class/misc/kvm does not exist");
                (void) finding_remedy(fail, "modprobe kvm_intel (or kvm_amd); when that fails `dmesg | grep -i kvm` tells why, mostly that "
                                            "the firmware has switched virtualization off.");
                return check_result(fail);
        }
        if (h->kvm == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/sys/class/misc could not be read"));
        return check_result(check_add(c, f, l, VERDICT_PASS, "the processor's virtualization is on"));
}

const Check check_cpu_virtualization = {
        .id = "cpu-virtualization", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_HOST,
        .summary = "guests run on the processor itself", .run = run_cpu_virtualization,
};

/* -- interrupt-remapping ------------------------------------------------------------------------------------------------- */

/* Documentation/admin-guide/kernel-parameters.txt: intremap=off; nointremap is its old name. */
static const char *no_remapping_word(const Host *h) {
        return command_line_has(h, "intremap=off") ? "intremap=off" : command_line_has(h, "nointremap") ? "nointremap" : NULL;
}

static int explain_no_remapping(const Check *c, const Host *h, const PciFunction *f, FindingList *l) {
        const char *word = no_remapping_word(h);
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "interrupts are not remapped: VFIO refuses to hand over controllers, as a guest "
                                                         "could send any interrupt to the host");

        (void) finding_evidence(fail, "/proc/interrupts has no chip whose name begins with IR-");
        if (word) {
                (void) finding_evidence(fail, "/proc/cmdline has %s", word);
                (void) finding_remedy(fail, "Take %s off the kernel's command line and reboot.", word);
        } else {
                (void) finding_remedy(fail, "Update the firmware and look there for interrupt remapping or x2APIC; `dmesg | grep -i remap` "
                                            "tells what the kernel found. Do not allow unsafe interrupts instead.");
        }
        return check_result(fail);
}

/* vfio_iommu_type1_attach_group, drivers/vfio/vfio_iommu_type1.c: a group without isolated MSIs is refused with EPERM, unless
 * allow_unsafe_interrupts is set. */
static int run_interrupt_remapping(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        (void) q;
        if (h->unsafe_interrupts) {
                Finding *fail = check_add(c, f, l, VERDICT_FAIL, "unsafe interrupts are allowed: a guest could send any interrupt to "
                                                                 "the host");
                (void) finding_evidence(fail, "allow_unsafe_interrupts is set: %s", h->unsafe_interrupts);
                (void) finding_remedy(fail, "Take allow_unsafe_interrupts out of /etc/modprobe.d and off the kernel's command line, and "
                                            "reboot.");
                return check_result(fail);
        }
        if (!host_is_x86(h))
                return check_result(check_add(c, f, l, VERDICT_SKIP, "how interrupts are remapped is only known of x86"));
        if (h->n_iommu_units == 0)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "there is no IOMMU that could remap interrupts"));
        if (h->interrupts_remapped == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/proc/interrupts could not be read"));
        if (h->interrupts_remapped == TRI_NO)
                return explain_no_remapping(c, h, f, l);
        Finding *pass = check_add(c, f, l, VERDICT_PASS, "interrupts are remapped");
        (void) finding_evidence(pass, "/proc/interrupts names chips IR-...");
        return check_result(pass);
}

const Check check_interrupt_remapping = {
        .id = "interrupt-remapping", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_HOST,
        .summary = "a guest's device sends only its own interrupts", .run = run_interrupt_remapping,
};

/* -- acs-override -------------------------------------------------------------------------------------------------------- */

/* Neither is in the kernel as released; distributions and users patch them in. */
static const char *override_word(const Host *h) {
        if (command_line_has(h, "pcie_acs_override"))
                return "pcie_acs_override";
        return command_line_has(h, "relax_rmrr") ? "relax_rmrr" : NULL;
}

static int run_acs_override(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *word = override_word(h);

        (void) q;
        if (!h->command_line)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/proc/cmdline could not be read"));
        if (!word)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the IOMMU groups are what the hardware is"));
        Finding *fail = check_add(c, f, l, VERDICT_FAIL, "the kernel's command line has %s: %s", word,
                                  *word == 'p' ? "groups look isolated whatever the hardware does, and guests could reach others' devices"
                                               : "memory that the firmware claims is given to guests, which loses data");
        (void) finding_evidence(fail, "/proc/cmdline: %s", h->command_line);
        (void) finding_remedy(fail, "Take %s off the kernel's command line and reboot; then see what the groups really are.", word);
        return check_result(fail);
}

const Check check_acs_override = {
        .id = "acs-override", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_HOST,
        .summary = "the IOMMU groups are what the hardware is", .run = run_acs_override,
};

/* -- ecc-memory ---------------------------------------------------------------------------------------------------------- */

static int run_ecc_memory(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        (void) q;
        if (h->ecc == TRI_UNKNOWN)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/sys/devices/system could not be read"));
        if (h->ecc == TRI_YES)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the memory has ECC"));
        Finding *info = check_add(c, f, l, VERDICT_INFO, "no memory with ECC is seen");
        (void) finding_evidence(info, "/sys/devices/system/edac/mc has no memory controller with ECC");
        (void) finding_remedy(info, "A NAS is safer with ECC memory. If the machine has it look for its EDAC driver: "
                                    "dmesg | grep -i edac");
        return check_result(info);
}

const Check check_ecc_memory = {
        .id = "ecc-memory", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_HOST,
        .summary = "the memory has ECC", .run = run_ecc_memory,
};
