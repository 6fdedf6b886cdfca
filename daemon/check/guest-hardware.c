/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's machine: its type, ports, option ROMs, and what it boots from and talks through. */
#include "check/family.h"

/* -- guest-machine ------------------------------------------------------------------------------------------------------- */

/* "pc-q35-7.2", "q35"; "pc-i440fx-7.2", "pc", "pc-1.3": hw/i386/pc_q35.c and pc_piix.c of QEMU. */
static bool is_q35(const char *machine) {
        return strstr(machine, "q35") != NULL;
}

static bool is_i440fx(const char *machine) {
        return !is_q35(machine) && strncmp(machine, "pc", 2) == 0;
}

static int warn_i440fx(const Check *c, const CheckRequest *q, const Guest *g, FindingList *l) {
        Finding *warn = check_add_guest(c, q, l, VERDICT_WARN, "guest %s is an i440fx machine (%s): controllers work there, as "
                                                               "conventional PCI devices", g->name, g->machine);

        (void) finding_evidence(warn, "the guest sees neither the PCI Express link nor its error reporting");
        if (g->system.q35 == TRI_YES)
                (void) finding_evidence(warn, "libosinfo: %s runs on q35", g->system.name);
        return finding_remedy(warn, "Make it a q35 machine when it is installed anew; an installed system may need its network and "
                                    "boot settings changed, as the addresses of all its devices become others.");
}

static int run_guest_machine(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        if (!host_is_x86(h))
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "only machine types of x86 are judged"));
        if (!g->machine)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "its definition names no machine type"));
        if (is_q35(g->machine))
                return check_result(check_add_guest(c, q, l, VERDICT_PASS, "it is a q35 machine (%s)", g->machine));
        if (is_i440fx(g->machine))
                return warn_i440fx(c, q, g, l);
        Finding *fail = check_add_guest(c, q, l, VERDICT_FAIL, "guest %s is a machine of type %s, which is not known to take PCI devices",
                                        g->name, g->machine);
        (void) finding_evidence(fail, "virsh dumpxml %s: machine='%s'", g->name, g->machine);
        return finding_remedy(fail, "Make it a q35 machine: virsh edit %s.", g->name);
}

const Check check_guest_machine = {
        .id = "guest-machine", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the guest is a machine with PCI Express", .run = run_guest_machine,
};

/* -- guest-ports --------------------------------------------------------------------------------------------------------- */

/* What has to be plugged: libvirt puts an Express device into a port of its own, one without that capability into a slot of a
 * conventional bus (src/qemu/qemu_domain_address.c), and everything there on a machine without Express. */
static void count_needed(const Host *h, const CheckRequest *q, const Guest *g, unsigned *ret_ports, unsigned *ret_slots) {
        *ret_ports = *ret_slots = 0;
        for (size_t i = 0; i < q->n_controllers; i++) {
                const PciFunction *f = host_find_function(h, &q->controllers[i]);
                const GuestDevice *d = NULL;
                for (size_t j = 0; j < g->n_devices; j++)
                        if (pci_address_equal(&g->devices[j].address, &q->controllers[i]))
                                d = &g->devices[j];
                if (d && d->in_live)
                        continue;
                if (g->ports.express && !(f && f->pcie_type == PCIE_CONVENTIONAL))
                        ++*ret_ports;
                else
                        ++*ret_slots;
        }
}

static int fail_ports(const Check *c, const CheckRequest *q, const Guest *g, bool ports, unsigned needed, unsigned there, FindingList *l) {
        Finding *fail = check_add_guest(c, q, l, VERDICT_FAIL, "guest %s runs and has %u free %s of the %u needed", g->name, there,
                                        ports ? "PCI Express ports" : "conventional PCI slots", needed);

        (void) finding_evidence(fail, ports ? "virsh dumpxml %s: each controller of the model pcie-root-port takes one device"
                                            : "virsh dumpxml %s: controllers of the models pcie-to-pci-bridge, pci-bridge and pci-root",
                                g->name);
        return finding_remedy(fail, "Shut guest %s down first: libvirt adds what is missing to a definition, not to a running guest. "
                                    "With --accept guest-ports it gets the controller when it is started the next time.", g->name);
}

static int run_guest_ports(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);
        unsigned ports, slots;

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        if (g->state == GUEST_SHUT_OFF)
                return check_result(check_add_guest(c, q, l, VERDICT_PASS, "it is shut off: libvirt adds the ports that it needs"));
        if (g->state != GUEST_RUNNING || !g->ports.known)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "it is %s, and its ports are not known",
                                                    guest_state_to_string(g->state)));
        count_needed(h, q, g, &ports, &slots);
        if (ports > g->ports.free_ports)
                return fail_ports(c, q, g, true, ports, g->ports.free_ports, l);
        if (slots > g->ports.free_slots)
                return fail_ports(c, q, g, false, slots, g->ports.free_slots, l);
        return check_result(check_add_guest(c, q, l, VERDICT_PASS, "it runs with %u free PCI Express ports and %u free conventional slots",
                                            g->ports.free_ports, g->ports.free_slots));
}

const Check check_guest_ports = {
        .id = "guest-ports", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the guest has a free port for the controller", .run = run_guest_ports,
};

/* -- guest-rom ----------------------------------------------------------------------------------------------------------- */

/* The firmware of a guest runs the option ROM of an HBA, which can take minutes or hang (vagrant-libvirt issue 881). `assign`
 * hides it; what has been added by hand may not. */
static int run_guest_rom(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);
        const GuestDevice *d = NULL;

        if (!q->guest)
                return 0;
        if (!g)
                return check_skip_guest(c, h, q, f, l);
        for (size_t i = 0; i < g->n_devices; i++)
                if (pci_address_equal(&g->devices[i].address, &f->address))
                        d = &g->devices[i];
        if (!d || d->rom_off)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the guest's firmware does not run its option ROM"));
        if (d->boots)
                return check_result(check_add(c, f, l, VERDICT_INFO, "guest %s boots from it, for which its option ROM may be needed",
                                              g->name));
        Finding *warn = check_add(c, f, l, VERDICT_WARN, "guest %s has %s with its option ROM, which can slow its start down or hang it",
                                  g->name, PCI_ADDRESS_STR(&f->address));
        (void) finding_evidence(warn, "virsh dumpxml %s: the <hostdev> has no <rom bar='off'/>", g->name);
        return finding_remedy(warn, "Add <rom bar='off'/> to that <hostdev> with virsh edit %s.", g->name);
}

const Check check_guest_rom = {
        .id = "guest-rom", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the guest's firmware does not run the controller's option ROM", .run = run_guest_rom,
};

/* -- guest-virtio -------------------------------------------------------------------------------------------------------- */

static int warn_emulated(const Check *c, const CheckRequest *q, const Guest *g, const GuestDrive *disk, const char *network,
                         FindingList *l) {
        Finding *warn = check_add_guest(c, q, l, VERDICT_WARN, "guest %s has %s%s%s emulated although %s has virtio drivers", g->name,
                                        disk ? "its boot disk" : "", disk && network ? " and " : "", network ? "its network card" : "",
                                        g->system.name);

        if (disk)
                (void) finding_evidence(warn, "virsh dumpxml %s: disk %s is on bus %s", g->name, disk->name,
                                        disk->bus ? disk->bus : "unknown");
        if (network)
                (void) finding_evidence(warn, "virsh dumpxml %s: the model of the interface is %s", g->name, network);
        return finding_remedy(warn, "Use bus='virtio' for the disk and <model type='virtio'/> for the interface (virsh edit %s), and see "
                                    "docs/guests.md: old systems know only the devices before virtio 1.0.", g->name);
}

static int run_guest_virtio(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = request_guest(h, q);

        if (!g)
                return check_skip_guest(c, h, q, f, l);
        const GuestDrive *boot = guest_boot_drive(g);
        const GuestDrive *disk = boot && !boot->paravirtual ? boot : NULL;
        const char *network = g->emulated_network;
        if (!disk && !network)
                return check_result(check_add_guest(c, q, l, VERDICT_PASS, "neither its boot disk nor its network is emulated"));
        if (!g->system.id)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "whether its system has virtio drivers is not known: its "
                                                                           "definition names no system (libosinfo's metadata)"));
        if (!g->system.name)
                return check_result(check_add_guest(c, q, l, VERDICT_SKIP, "whether its system has virtio drivers is not known: %s",
                                                    g->system.problem ? g->system.problem : "libosinfo was not asked"));
        if (g->system.virtio_block != TRI_YES && g->system.virtio_scsi != TRI_YES)
                disk = NULL;
        if (g->system.virtio_net != TRI_YES)
                network = NULL;
        if (disk || network)
                return warn_emulated(c, q, g, disk, network, l);
        return check_result(check_add_guest(c, q, l, VERDICT_PASS, "what is emulated is what %s has drivers for", g->system.name));
}

const Check check_guest_virtio = {
        .id = "guest-virtio", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_GUEST,
        .summary = "the guest's boot disk and network are paravirtual where its system can", .run = run_guest_virtio,
};
