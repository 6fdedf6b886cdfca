/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the controller is: among its like, on its link, near which memory. */
#include "check/acs.h"
#include "check/family.h"

/* -- twin-device --------------------------------------------------------------------------------------------------------- */

/* Of two of a kind only cards can change places. */
static const PciFunction *find_twin(const Host *h, const PciFunction *f) {
        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *o = &h->functions[i];
                if (o != f && o->vendor == f->vendor && o->device == f->device && o->subsystem_vendor == f->subsystem_vendor &&
                    o->subsystem_device == f->subsystem_device && o->class == f->class && pci_function_is_controller(o) &&
                    function_is_card(h, o))
                        return o;
        }
        return NULL;
}

/* Serial numbers of all its disks: the second tier of its identity. */
static bool has_disk_serials(const Host *h, const PciFunction *f) {
        const Assigned *a = host_find_assigned(h, &f->address);
        bool found = a && a->n_disk_serials > 0;

        for (size_t i = 0; i < h->n_disks; i++) {
                if (!pci_address_equal(&h->disks[i].controller, &f->address))
                        continue;
                if (!h->disks[i].serial)
                        return false;
                found = true;
        }
        return found;
}

static int run_twin_device(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const PciFunction *twin = find_twin(h, f);

        (void) q;
        if (!twin)
                return check_result(check_add(c, f, l, VERDICT_PASS, "the host has no second card of this kind"));
        if (!function_is_card(h, f))
                return check_result(check_add(c, f, l, VERDICT_PASS, "it is part of the mainboard: nothing else can be at its place"));
        if (f->has_serial)
                return check_result(check_add(c, f, l, VERDICT_PASS, "its PCIe serial number tells it from %s",
                                              PCI_ADDRESS_STR(&twin->address)));
        if (f->acs == TRI_UNKNOWN) /* as the serial number, beyond what could be read */
                return check_result(check_add(c, f, l, VERDICT_SKIP, "config space could not be read completely, which needs root: it may "
                                              "have a serial number that tells it from %s", PCI_ADDRESS_STR(&twin->address)));
        bool verifiable = has_disk_serials(h, f);
        Finding *finding = check_add(c, f, l, verifiable ? VERDICT_INFO : VERDICT_WARN, "only its place tells %s from %s%s",
                                     PCI_ADDRESS_STR(&f->address), PCI_ADDRESS_STR(&twin->address),
                                     verifiable ? " at boot; later the serial numbers of its disks do" : "");
        (void) finding_evidence(finding, "both are %04x:%04x, subsystem %04x:%04x, without a PCIe serial number", f->vendor, f->device,
                                f->subsystem_vendor, f->subsystem_device);
        (void) finding_remedy(finding, "Do not swap the two cards: release the controller before either is moved to another slot.");
        return check_result(finding);
}

const Check check_twin_device = {
        .id = "twin-device", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller cannot be mistaken for another one", .run = run_twin_device,
};

/* -- pcie-link ----------------------------------------------------------------------------------------------------------- */

static int run_pcie_link(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const char *address = PCI_ADDRESS_STR(&f->address);

        (void) h;
        (void) q;
        if (f->link_speed == 0 || f->link_width == 0) {
                if (f->pcie_type == PCIE_CONVENTIONAL || !f->has_parent)
                        return check_result(check_add(c, f, l, VERDICT_PASS, "it has no PCIe link of its own"));
                return check_result(check_add(c, f, l, VERDICT_SKIP, "the state of its link could not be read"));
        }
        if (f->link_speed >= f->link_speed_max && f->link_width >= f->link_width_max)
                return check_result(check_add(c, f, l, VERDICT_PASS, "its link runs at full speed and width: %u.%u GT/s x%u",
                                              f->link_speed / 1000, f->link_speed / 100 % 10, f->link_width));
        Finding *info = check_add(c, f, l, VERDICT_INFO, "the link of %s runs below what it can: %u.%u GT/s x%u of %u.%u GT/s x%u", address,
                                  f->link_speed / 1000, f->link_speed / 100 % 10, f->link_width, f->link_speed_max / 1000,
                                  f->link_speed_max / 100 % 10, f->link_width_max);
        (void) finding_evidence(info, "/sys/bus/pci/devices/%s/{current,max}_link_{speed,width}", address);
        (void) finding_remedy(info, "If the disks need it use a slot with more lanes, or reseat the card.");
        return check_result(info);
}

const Check check_pcie_link = {
        .id = "pcie-link", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the controller's PCIe link runs at full speed and width", .run = run_pcie_link,
};

/* -- numa-local ---------------------------------------------------------------------------------------------------------- */

/* A list as libvirt and the kernel write it: "0-2,^1,5". What comes later wins. */
static bool nodes_have(const char *list, int node) {
        bool has = false;

        for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',') {
                bool without = *s == '^';
                int first, last;
                int n = sscanf(s + without, "%9d-%9d", &first, &last);
                if (n >= 1 && node >= first && node <= (n == 2 ? last : first))
                        has = !without;
        }
        return has;
}

static int run_numa_local(const Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l) {
        const Guest *g = q->guest ? host_find_guest(h, q->guest) : NULL;

        if (f->numa_node < 0 || (h->numa_nodes && !strpbrk(h->numa_nodes, "-,")))
                return check_result(check_add(c, f, l, VERDICT_PASS, "all memory is equally near"));
        if (!h->numa_nodes)
                return check_result(check_add(c, f, l, VERDICT_SKIP, "/sys/devices/system/node/online could not be read"));
        if (!g)
                return check_result(check_add(c, f, l, VERDICT_PASS, "it is on NUMA node %d", f->numa_node));
        if (g->memory_nodes && nodes_have(g->memory_nodes, f->numa_node))
                return check_result(check_add(c, f, l, VERDICT_PASS, "guest %s has its memory on the controller's NUMA node %d", g->name,
                                              f->numa_node));
        const char *address = PCI_ADDRESS_STR(&f->address);
        Finding *info = check_add(c, f, l, VERDICT_INFO, "%s is on NUMA node %d, the memory of guest %s is on %s", address,
                                  f->numa_node, g->name, g->memory_nodes ? g->memory_nodes : "any");
        (void) finding_evidence(info, "/sys/bus/pci/devices/%s/numa_node is %d; virsh numatune %s", address, f->numa_node, g->name);
        (void) finding_remedy(info, "For the best speed bind its memory: virsh numatune %s --nodeset %d --config", g->name, f->numa_node);
        return check_result(info);
}

const Check check_numa_local = {
        .id = "numa-local", .kind = CHECK_ACCEPTABLE, .scope = CHECK_SCOPE_CONTROLLER,
        .summary = "the guest's memory is near the controller", .run = run_numa_local,
};
