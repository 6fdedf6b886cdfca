/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random machines. Their IOMMU groups are made by the kernel's rules (pci_device_group, drivers/iommu/iommu.c), written here a
 * second time and another way. TOPOLOGY_SEED=N makes the machine of that number alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pci_regs.h>

#include "check/acs.h"
#include "check/check.h"
#include "support-plan.h"

#define MACHINES 2000
#define MACHINES_FULL 20000
#define FUNCTIONS_MAX 64

/* -- chance ---------------------------------------------------------------------------------------------------------------- */

static uint64_t chance_state;

/* splitmix64 */
static unsigned chance(unsigned n) {
        uint64_t z = chance_state += 0x9e3779b97f4a7c15;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return (unsigned) ((z ^ z >> 31) % n);
}

static bool percent(unsigned n) {
        return chance(100) < n;
}

/* -- the machine ------------------------------------------------------------------------------------------------------------- */

typedef struct Builder {
        Host *h;
        uint8_t buses;
} Builder;

static PciFunction *add(Builder *b, const PciFunction *parent, uint8_t bus, uint8_t device, uint8_t function, uint32_t class, int type) {
        if (b->h->n_functions == FUNCTIONS_MAX)
                return NULL;
        PciFunction *f = &b->h->functions[b->h->n_functions++];
        *f = (PciFunction){
                .address = { 0, bus, device, function }, .vendor = 0x1234, .device = (uint16_t) chance(4), .class = class, .group = -1,
                .header_type = class >> 8 == PCI_CLASS16_PCI_BRIDGE, .numa_node = -1, .config_size = 4096, .pcie_type = type,
                .config_dead = TRI_NO, .msi = TRI_YES, .slot = percent(80), .reset_method = strdup(percent(80) ? "flr" : ""),
                .acs = type != PCIE_CONVENTIONAL && percent(70) ? TRI_YES : TRI_NO, .acs_able = percent(80) ? 0x1f : 0x11,
                .acs_on = percent(85) ? 0x1d : 0x01,
        };
        if (parent) {
                f->has_parent = true;
                f->parent = parent->address;
        }
        assert_true(asprintf(&f->port_path, "0000:00/%02x.%02x.%x", bus, device, function) > 0);
        return f;
}

static void add_endpoints(Builder *b, const PciFunction *parent, uint8_t bus, uint8_t device, bool conventional) {
        static const uint32_t classes[] = { 0x010601, 0x010802, 0x010700, 0x020000, 0x0c0330, 0x0c0500 };
        static const char *const drivers[] = { "ahci", "nvme", "mpt3sas", "e1000e", "xhci_hcd", NULL };
        unsigned n = percent(70) ? 1 : 2 + chance(2);

        for (unsigned i = 0; i < n; i++) {
                unsigned what = chance(ELEMENTSOF(classes));
                int type = conventional || percent(20) ? PCIE_CONVENTIONAL : parent ? PCI_EXP_TYPE_ENDPOINT : PCI_EXP_TYPE_RC_END;
                PciFunction *f = add(b, parent, bus, device, (uint8_t) i, classes[what], type);
                if (!f)
                        return;
                f->multifunction = n > 1;
                f->driver = percent(80) && drivers[what] ? strdup(drivers[what]) : NULL;
        }
}

static void add_bus(Builder *b, const PciFunction *bridge, int depth, bool conventional);

/* One port or bridge, or several as functions of one device. */
static void add_bridges(Builder *b, const PciFunction *parent, uint8_t bus, uint8_t device, int type, int depth) {
        unsigned n = percent(70) ? 1 : 2;
        PciFunction *made[2] = {};

        for (unsigned i = 0; i < n; i++) {
                made[i] = add(b, parent, bus, device, (uint8_t) i, 0x060400, type);
                if (!made[i])
                        return;
                made[i]->multifunction = n > 1;
                made[i]->driver = type == PCI_EXP_TYPE_PCI_BRIDGE ? NULL : strdup("pcieport");
        }
        for (unsigned i = 0; i < n; i++)
                add_bus(b, made[i], depth + 1, type == PCI_EXP_TYPE_PCI_BRIDGE);
}

static void add_bus(Builder *b, const PciFunction *bridge, int depth, bool conventional) {
        uint8_t bus = bridge ? ++b->buses : 0;
        unsigned devices = bridge && !conventional && bridge->pcie_type != PCI_EXP_TYPE_UPSTREAM ? chance(2) : 1 + chance(4);

        for (uint8_t d = 0; d < devices; d++) {
                if (bridge && bridge->pcie_type == PCI_EXP_TYPE_UPSTREAM)
                        add_bridges(b, bridge, bus, d, PCI_EXP_TYPE_DOWNSTREAM, depth);
                else if (!bridge && percent(70))
                        add_bridges(b, bridge, bus, d, PCI_EXP_TYPE_ROOT_PORT, depth);
                else if (bridge && !conventional && depth < 5 && percent(25))
                        add_bridges(b, bridge, bus, d, percent(50) ? PCI_EXP_TYPE_UPSTREAM : PCI_EXP_TYPE_PCI_BRIDGE, depth);
                else
                        add_endpoints(b, bridge, bus, d, conventional);
        }
}

/* -- the kernel's groups ------------------------------------------------------------------------------------------------------- */

static const PciFunction *above(const Host *h, const PciFunction *f) {
        for (size_t i = 0; f->has_parent && i < h->n_functions; i++)
                if (pci_address_equal(&h->functions[i].address, &f->parent))
                        return &h->functions[i];
        return NULL;
}

static bool kernel_isolates(const PciFunction *f) {
        static const bool port[16] = { [PCI_EXP_TYPE_ROOT_PORT] = true, [PCI_EXP_TYPE_DOWNSTREAM] = true };

        if (f->pcie_type < 0 || f->pcie_type == PCI_EXP_TYPE_PCI_BRIDGE)
                return false;
        if (!port[f->pcie_type] && !f->multifunction)
                return true;
        return f->acs == TRI_YES && (0x1d & f->acs_able & ~f->acs_on) == 0;
}

static bool kernel_path_isolates(const Host *h, const PciFunction *f) {
        for (; f; f = above(h, f))
                if (!kernel_isolates(f))
                        return false;
        return true;
}

static int kernel_group(const Host *h, const PciFunction *f, int next) {
        const PciFunction *who = f;

        for (const PciFunction *up = above(h, f); up; up = above(h, up))
                if (up->pcie_type == PCI_EXP_TYPE_PCI_BRIDGE)
                        return up->group; /* all requests from below have the bridge's name */
        const PciFunction *up = above(h, f);
        if (up && !kernel_path_isolates(h, up))
                return up->group;
        if (!who->multifunction || kernel_isolates(who))
                return next;
        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *o = &h->functions[i];
                if (o != f && o->group >= 0 && o->address.bus == f->address.bus && o->address.device == f->address.device &&
                    !kernel_isolates(o))
                        return o->group;
        }
        return next;
}

/* Functions come after the bridges above them. */
static void make_groups(Host *h) {
        int next = 0;

        h->groups = calloc(h->n_functions, sizeof *h->groups);
        for (size_t i = 0; i < h->n_functions; i++) {
                PciFunction *f = &h->functions[i];
                f->group = kernel_group(h, f, next);
                IommuGroup *g = &h->groups[f->group];
                if (f->group == next) {
                        next++;
                        *g = (IommuGroup){ .number = f->group, .members = calloc(FUNCTIONS_MAX, sizeof *g->members), .regions_known = true };
                }
                g->members[g->n_members++] = f->address;
        }
        h->n_groups = (size_t) next;
}

static Host *random_machine(uint64_t number) {
        Builder b = { .h = host_new() };
        Host *h = b.h;

        chance_state = number;
        h->functions = calloc(FUNCTIONS_MAX, sizeof *h->functions);
        for (unsigned d = 0, n = 1 + chance(6); d < n; d++)
                if (percent(70))
                        add_bridges(&b, NULL, 0, (uint8_t) d, PCI_EXP_TYPE_ROOT_PORT, 0);
                else
                        add_endpoints(&b, NULL, 0, (uint8_t) d, percent(30));
        make_groups(h);
        h->guests = calloc(2, sizeof *h->guests);
        h->guests[h->n_guests++] = (Guest){ .name = strdup("nas"), .state = percent(70) ? GUEST_SHUT_OFF : GUEST_RUNNING,
                                            .persistent = true, .managed_save = TRI_NO };
        h->guests[h->n_guests++] = (Guest){ .name = strdup("other"), .persistent = true, .managed_save = TRI_NO };
        h->guests_known = h->uses_known = h->exclusive_tried = h->openers_known = h->claims_known = true;
        h->architecture = strdup("x86_64");
        h->command_line = strdup("quiet");
        h->iommu_units = calloc(1, sizeof *h->iommu_units);
        h->iommu_units[h->n_iommu_units++] = strdup("dmar0");
        h->iommu_class_known = h->vfio_pci = h->kvm = h->cpu_virtualization = h->interrupts_remapped = TRI_YES;
        h->vfio_noiommu = TRI_NO;
        host_sort(h);
        return h;
}

/* -- the explanation agrees with the groups --------------------------------------------------------------------------------------- */

static bool is_on_path(const Host *h, const PciFunction *f, const PciFunction *hop) {
        for (; f; f = above(h, f))
                if (f == hop)
                        return true;
        return false;
}

static void check_explanation(const Host *h, const PciFunction *f) {
        const IommuGroup *g = host_find_group(h, f->group);
        const PciFunction *unknown, *holds = NULL;
        const char *why = NULL;
        const PciFunction *gap = acs_first_gap(h, f, &why, &unknown);

        assert_null(unknown);
        if (!gap) {
                assert_int_equal(g->n_members, 1);
        } else {
                assert_non_null(why);
                assert_true(is_on_path(h, f, gap));
                assert_int_equal(gap->group, f->group);
                for (const PciFunction *hop = f; hop != gap; hop = above(h, hop))
                        assert_true(kernel_isolates(hop) || (hop == f && !hop->multifunction));
        }
        const PciFunction *port = acs_better_slot(h, f, &holds);
        if (port) {
                assert_true(kernel_path_isolates(h, port));
                assert_true(port->group != f->group);
                assert_true(!holds || is_on_path(h, holds, port));
        }
}

/* -- no plan touches what it must not ---------------------------------------------------------------------------------------------- */

static void random_disks(Host *h) {
        static const DiskUseKind kinds[] = { DISK_USE_MOUNT, DISK_USE_SWAP, DISK_USE_HOLDER, DISK_USE_CONFIGURED };

        h->disks = calloc(2 * FUNCTIONS_MAX, sizeof *h->disks);
        for (size_t i = 0; i < h->n_functions; i++) {
                if (!pci_function_is_controller(&h->functions[i]))
                        continue;
                for (unsigned n = chance(3); n > 0; n--) {
                        Disk *d = &h->disks[h->n_disks++];
                        *d = (Disk){ .controller = h->functions[i].address, .exclusive = TRI_YES };
                        assert_true(asprintf(&d->name, "sd%zu", h->n_disks) > 0);
                        if (!percent(25))
                                continue;
                        d->uses = calloc(1, sizeof *d->uses);
                        d->n_uses = 1;
                        DiskUseKind kind = kinds[chance(ELEMENTSOF(kinds))];
                        d->uses[0] = (DiskUse){ .kind = kind, .boot = kind == DISK_USE_CONFIGURED || percent(50), .chain = strdup("sd → /") };
                }
        }
        host_sort(h);
}

/* What no real machine would show together, too: members that were not read, overrides and vfio drivers of others. */
static void disturb(Host *h) {
        for (size_t i = 0; i < h->n_functions; i++) {
                PciFunction *f = &h->functions[i];
                if (percent(3))
                        f->driver_override = strdup(percent(50) ? "vfio-pci" : "none");
                if (percent(3)) {
                        free(f->driver);
                        f->driver = strdup("vfio-pci");
                }
                if (percent(2))
                        f->config_dead = TRI_YES;
        }
        if (percent(10) && h->n_functions > 1)
                pci_function_clear(&h->functions[--h->n_functions]);
        if (percent(5) && h->n_groups > 0) {
                IommuGroup *g = &h->groups[chance((unsigned) h->n_groups)];
                g->regions = calloc(1, sizeof *g->regions);
                g->regions[g->n_regions++] = (ReservedRegion){ 0, 0xfff, REGION_DIRECT };
        }
        if (percent(5))
                h->uses_known = false;
}

static bool is_requested(const PlanRequest *q, const PciAddress *a) {
        for (size_t i = 0; i < q->n_controllers; i++)
                if (pci_address_equal(&q->controllers[i], a))
                        return true;
        return false;
}

static void check_group(const Host *h, const PlanRequest *q, const PciAddress *a) {
        const IommuGroup *g = host_group_of(h, a);

        assert_non_null(g);
        for (size_t i = 0; i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                assert_non_null(m);
                if (!is_requested(q, &m->address) && m->driver)
                        assert_true(str_equal(m->driver, "pcieport") || str_equal(m->driver, "vfio-pci"));
        }
        assert_int_equal(g->n_regions, 0);
}

static void check_plan(const Host *h, const PlanRequest *q, const Plan *p) {
        for (size_t i = 0; i < p->n_steps; i++) {
                const Step *s = &p->steps[i];
                assert_true(is_requested(q, &s->address));
                check_group(h, q, &s->address);
                if (s->kind == STEP_VERIFY)
                        assert_ptr_equal(host_find_group(h, s->group), host_group_of(h, &s->address));
        }
        for (size_t i = 0; i < h->n_disks; i++)
                if (is_requested(q, &h->disks[i].controller))
                        for (size_t j = 0; j < h->disks[i].n_uses; j++)
                                assert_false(h->disks[i].uses[j].boot || h->disks[i].uses[j].kind != DISK_USE_CONFIGURED);
}

/* Some of the functions, mostly controllers, mostly of one group; all that can be accepted is accepted. */
static bool try_plan(const Host *h) {
        PciAddress wanted[4];
        char *accept[64];
        PlanRequest q = { .kind = PLAN_ASSIGN, .guest = (char *) "nas", .controllers = wanted, .accept = accept, .no_attach = percent(30) };
        const PciFunction *first = &h->functions[chance((unsigned) h->n_functions)];
        _cleanup_(plan_freep) Plan *p = NULL;

        for (size_t i = 0; i < n_checks && q.n_accept < ELEMENTSOF(accept); i++)
                if (checks[i]->kind == CHECK_ACCEPTABLE)
                        accept[q.n_accept++] = (char *) checks[i]->id;
        wanted[q.n_controllers++] = first->address;
        for (size_t i = 0; i < h->n_functions && q.n_controllers < ELEMENTSOF(wanted); i++) {
                const PciFunction *f = &h->functions[i];
                if (f != first && percent(f->group == first->group && pci_function_is_controller(f) ? 90 : 2))
                        wanted[q.n_controllers++] = f->address;
        }
        if (plan_make(h, &q, &p, NULL, NULL) < 0)
                return false;
        check_plan(h, &q, p);
        return true;
}

/* -- the tests ------------------------------------------------------------------------------------------------------------------- */

static uint64_t seed;

/* Of the machine that failed, when one did. */
static int tell_seed(void **state) {
        (void) state;
        print_message("# the last one was TOPOLOGY_SEED=%llu\n", (unsigned long long) seed);
        return 0;
}

static void on_random_machines(void (*look)(Host *h)) {
        const char *given = getenv("TOPOLOGY_SEED");
        uint64_t first = given ? strtoull(given, NULL, 0) : (uint64_t) time(NULL) << 20;
        size_t n = given ? 1 : getenv("PASSTHRU_FULL") ? MACHINES_FULL : MACHINES;

        print_message("# %zu machines from TOPOLOGY_SEED=%llu on\n", n, (unsigned long long) first);
        for (seed = first; seed < first + n; seed++) {
                _cleanup_(host_freep) Host *h = random_machine(seed);
                look(h);
        }
}

static size_t shared, alone, planned, refused;

static void look_at_groups(Host *h) {
        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *f = &h->functions[i];
                if (pci_function_is_bridge(f))
                        continue;
                check_explanation(h, f);
                *(host_find_group(h, f->group)->n_members > 1 ? &shared : &alone) += 1;
        }
}

static void explanations_agree_with_the_groups(void **state) {
        (void) state;
        on_random_machines(look_at_groups);
        print_message("# %zu functions alone in their group, %zu not\n", alone, shared);
        assert_true(getenv("TOPOLOGY_SEED") || (shared > 100 && alone > 100));
}

static void look_at_plans(Host *h) {
        random_disks(h);
        disturb(h);
        for (int i = 0; i < 8; i++)
                *(try_plan(h) ? &planned : &refused) += 1;
}

static void plans_keep_to_the_groups_that_were_asked_for(void **state) {
        (void) state;
        on_random_machines(look_at_plans);
        print_message("# %zu plans, %zu refusals\n", planned, refused);
        assert_true(getenv("TOPOLOGY_SEED") || (planned > 100 && refused > 100));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(explanations_agree_with_the_groups, tell_seed),
                cmocka_unit_test_teardown(plans_keep_to_the_groups_that_were_asked_for, tell_seed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
