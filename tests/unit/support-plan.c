/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "support-plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pci_regs.h>

#include "model/controller.h"

const PciAddress hba = { 0, 3, 0, 0 }, twin1 = { 0, 5, 1, 0 }, twin2 = { 0, 5, 2, 0 };
static const PciAddress port = { 0, 0, 2, 0 };

static char *copy(const char *s) {
        return s ? strdup(s) : NULL;
}

static void add_function(Host *h, const PciAddress *a, uint32_t class, const char *driver, int group) {
        PciFunction *f = &h->functions[h->n_functions++];

        *f = (PciFunction){
                .address = *a, .vendor = 0x8086, .device = 0x2922, .subsystem_vendor = 0x1af4, .class = class, .group = group,
                .header_type = class >> 8 == PCI_CLASS16_PCI_BRIDGE, .driver = copy(driver), .reset_method = strdup("flr"),
                .numa_node = -1, .config_dead = TRI_NO,
                /* hba is another model than the twins */
                .subsystem_device = a->bus == 3, .config_size = 4096, .msi = TRI_YES, .slot = true,
                .pcie_type = class >> 8 == PCI_CLASS16_PCI_BRIDGE ? PCI_EXP_TYPE_ROOT_PORT : PCI_EXP_TYPE_ENDPOINT,
                .acs = class >> 8 == PCI_CLASS16_PCI_BRIDGE ? TRI_YES : TRI_NO, .acs_able = 0x1d, .acs_on = 0x1d,
                .d3cold_allowed = TRI_YES, .runtime_pm = TRI_NO, .power_switch = TRI_NO,
                .link_speed = 8000, .link_speed_max = 8000, .link_width = 4, .link_width_max = 4,
        };
        assert_true(asprintf(&f->port_path, "0000:00/%02x.0", a->device + a->bus) > 0);
}

static void add_group(Host *h, int number, const PciAddress *members, size_t n) {
        IommuGroup *g = &h->groups[h->n_groups++];

        *g = (IommuGroup){ .number = number, .members = calloc(n, sizeof *members), .n_members = n, .regions_known = true };
        memcpy(g->members, members, n * sizeof *members);
}

static void add_disk(Host *h, const char *name, const char *serial, const char *wwn, const PciAddress *a) {
        h->disks[h->n_disks++] = (Disk){
                .name = strdup(name), .serial = copy(serial), .wwn = copy(wwn), .size = 1 << 30, .controller = *a,
                .exclusive = TRI_YES, .signatures_known = true, .healthy = TRI_YES,
        };
}

static void add_guest(Host *h, const char *name, GuestState state) {
        h->guests[h->n_guests++] = (Guest){
                .name = strdup(name), .uuid = strdup(name), .state = state, .persistent = true, .managed_save = TRI_NO,
                .machine = strdup("pc-q35-7.2"), .memory = UINT64_C(1) << 30, .current_memory = UINT64_C(1) << 30,
        };
}

static void add_disks_of(Host *h, const PciAddress *a) {
        h->disks = reallocarray(h->disks, h->n_disks + 2, sizeof *h->disks);
        if (pci_address_equal(a, &hba)) {
                add_disk(h, "sda", "SERIAL-A", NULL, a);
                add_disk(h, "sdb", "SERIAL-B", NULL, a);
        } else if (pci_address_equal(a, &twin1)) {
                add_disk(h, "sdc", NULL, "naa.5000", a);
        } else {
                add_disk(h, "sdd", "bad\nserial", NULL, a);
        }
}

Host *machine_new(void) {
        Host *h = host_new();

        assert_non_null(h);
        h->functions = calloc(4, sizeof *h->functions);
        add_function(h, &port, 0x060400, "pcieport", 10);
        add_function(h, &hba, 0x010601, "ahci", 20);
        add_function(h, &twin1, 0x010601, "ahci", 30);
        add_function(h, &twin2, 0x010601, "ahci", 30);
        h->groups = calloc(3, sizeof *h->groups);
        add_group(h, 10, &port, 1);
        add_group(h, 20, &hba, 1);
        add_group(h, 30, (const PciAddress[]){ twin1, twin2 }, 2);
        add_disks_of(h, &hba);
        add_disks_of(h, &twin1);
        add_disks_of(h, &twin2);
        h->guests = calloc(2, sizeof *h->guests);
        add_guest(h, "nas", GUEST_SHUT_OFF);
        add_guest(h, "other", GUEST_RUNNING);
        h->guests_known = h->uses_known = h->exclusive_tried = h->openers_known = true;
        h->architecture = strdup("x86_64");
        h->memory = UINT64_C(16) << 30;
        h->command_line = strdup("root=/dev/vda1");
        h->boot_id = strdup("boot-1");
        h->iommu_units = calloc(1, sizeof *h->iommu_units);
        h->iommu_units[h->n_iommu_units++] = strdup("dmar0");
        h->iommu_class_known = h->firmware_iommu = h->vfio_pci = TRI_YES;
        h->vfio_noiommu = TRI_NO;
        h->firmware_table = "DMAR";
        h->iommu_built = h->iommu_default_on = h->cpu_virtualization = h->kvm = h->interrupts_remapped = h->ecc = TRI_YES;
        h->idle_d3_disabled = TRI_NO;
        h->builtin_modules = strdup("kernel/drivers/pci/hotplug/shpchp.ko\nkernel/drivers/block/virtio_blk.ko\n");
        h->numa_nodes = strdup("0");
        h->claims_known = true;
        h->quirks_known = TRI_YES;
        host_sort(h);
        return h;
}

PciFunction *machine_function(Host *h, const PciAddress *a) {
        PciFunction *f = (PciFunction *) host_find_function(h, a);

        assert_non_null(f);
        return f;
}

Guest *machine_guest(Host *h, const char *name) {
        return (Guest *) host_find_guest(h, name);
}

static void remove_disks(Host *h, const PciAddress *a) {
        size_t n = 0;

        for (size_t i = 0; i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, a))
                        disk_clear(&h->disks[i]);
                else
                        h->disks[n++] = h->disks[i];
        h->n_disks = n;
}

void machine_set_driver(Host *h, const PciAddress *a, const char *driver) {
        PciFunction *f = machine_function(h, a);

        remove_disks(h, a);
        free(f->driver);
        f->driver = copy(driver);
        if (str_equal(driver, "ahci"))
                add_disks_of(h, a);
        host_sort(h);
}

static void set_override(PciFunction *f, const char *value) {
        free(f->driver_override);
        f->driver_override = copy(value);
}

void machine_reboot(Host *h) {
        for (size_t i = 0; i < h->n_functions; i++)
                if (pci_function_is_controller(&h->functions[i])) {
                        machine_set_driver(h, &h->functions[i].address, "ahci");
                        set_override(&h->functions[i], NULL);
                }
        free(h->boot_id);
        h->boot_id = strdup("boot-2");
}

/* -- steps ------------------------------------------------------------------------------------------------------------- */

static void assert_text(const char *is, const char *expected) {
        if (!str_equal(is, expected))
                fail_msg("%s instead of %s", is ? is : "none", expected ? expected : "none");
}

static void step_bind_by_kernel(Host *h, const Step *s) {
        PciFunction *f = machine_function(h, &s->address);
        const char *driver = f->driver_override ? f->driver_override : "ahci";

        assert_text(f->driver, NULL);
        if (*s->after)
                assert_text(driver, s->after);
        machine_set_driver(h, &s->address, driver);
}

static char *record_of(const Host *h, const PciAddress *a) {
        const Assigned *found = host_find_assigned(h, a);
        _cleanup_json_ json_t *j = found ? assigned_to_json(found) : NULL;

        return j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

static void record_remove(Host *h, const PciAddress *a) {
        size_t n = 0;

        for (size_t i = 0; i < h->n_assigned; i++)
                if (pci_address_equal(&h->assigned[i].address, a))
                        assigned_clear(&h->assigned[i]);
                else
                        h->assigned[n++] = h->assigned[i];
        h->n_assigned = n;
}

static void record_replace(Host *h, const Step *s) {
        _cleanup_free_ char *is = record_of(h, &s->address);
        _cleanup_json_ json_t *j = s->after ? json_loads(s->after, 0, NULL) : NULL;

        assert_text(is, s->before);
        record_remove(h, &s->address);
        if (!j)
                return;
        h->assigned = reallocarray(h->assigned, h->n_assigned + 1, sizeof *h->assigned);
        assert_int_equal(assigned_from_json(j, &h->assigned[h->n_assigned++], NULL), 0);
        host_sort(h);
}

static GuestDevice *device_add(Host *h, const char *guest, const PciAddress *a, const char *alias) {
        Guest *g = machine_guest(h, guest);

        for (size_t i = 0; i < g->n_devices; i++)
                if (pci_address_equal(&g->devices[i].address, a))
                        return &g->devices[i];
        g->devices = reallocarray(g->devices, g->n_devices + 1, sizeof *g->devices);
        g->devices[g->n_devices++] = (GuestDevice){ .address = *a, .alias = copy(alias) };
        return &g->devices[g->n_devices - 1];
}

void machine_attach(Host *h, const char *guest, const PciAddress *a, const char *alias) {
        device_add(h, guest, a, alias)->in_config = true;
}

void machine_plug(Host *h, const char *guest, const PciAddress *a, const char *alias) {
        device_add(h, guest, a, alias)->in_live = true;
}

/* From the definition or, `live`, from the running guest. */
static void device_remove(Host *h, const char *guest, const PciAddress *a, bool live) {
        Guest *g = machine_guest(h, guest);
        size_t n = 0, removed = 0;

        for (size_t i = 0; i < g->n_devices; i++) {
                GuestDevice *d = &g->devices[i];
                if (pci_address_equal(&d->address, a)) {
                        removed += live ? d->in_live : d->in_config;
                        *(live ? &d->in_live : &d->in_config) = false;
                }
                if (d->in_live || d->in_config)
                        g->devices[n++] = *d;
                else
                        free(d->alias);
        }
        assert_int_equal(removed, 1);
        g->n_devices = n;
}

void machine_step(Host *h, const Step *s) {
        PciFunction *f = machine_function(h, &s->address);

        switch (s->kind) {
        case STEP_OVERRIDE:
                assert_text(f->driver_override, s->before);
                set_override(f, s->after);
                break;
        case STEP_UNBIND:
                assert_text(f->driver, s->before);
                machine_set_driver(h, &s->address, NULL);
                break;
        case STEP_BIND:
                step_bind_by_kernel(h, s);
                break;
        case STEP_STORE:
        case STEP_UNSTORE:
                record_replace(h, s);
                break;
        case STEP_ATTACH:
                machine_attach(h, s->subject, &s->address, "ua-passthru-x");
                break;
        case STEP_DETACH:
        case STEP_UNPLUG:
                device_remove(h, s->subject, &s->address, s->kind == STEP_UNPLUG);
                break;
        case STEP_PLUG:
                machine_plug(h, s->subject, &s->address, "ua-passthru-x");
                break;
        default:
                break;
        }
}

void machine_steps(Host *h, const Step *steps, size_t n) {
        for (size_t i = 0; i < n; i++)
                machine_step(h, &steps[i]);
}

static void print_guest(FILE *out, const Guest *g) {
        (void) fprintf(out, "guest %s:", g->name);
        /* In the order of the addresses: what is attached again is the last. */
        for (unsigned bus = 0; bus < 256; bus++)
                for (unsigned device = 0; device < 32; device++)
                        for (size_t i = 0; i < g->n_devices; i++)
                                if (g->devices[i].address.bus == bus && g->devices[i].address.device == device)
                                        (void) fprintf(out, " %s%s%s", PCI_ADDRESS_STR(&g->devices[i].address),
                                                       g->devices[i].in_config ? " defined" : "",
                                                       g->devices[i].in_live ? " live" : "");
        (void) fputc('\n', out);
}

char *machine_text(const Host *h) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        for (size_t i = 0; i < h->n_functions; i++) {
                const PciFunction *f = &h->functions[i];
                (void) fprintf(out, "%s driver %s override %s\n", PCI_ADDRESS_STR(&f->address), f->driver ? f->driver : "none",
                               f->driver_override ? f->driver_override : "none");
        }
        for (size_t i = 0; i < h->n_assigned; i++) {
                _cleanup_free_ char *record = record_of(h, &h->assigned[i].address);
                (void) fprintf(out, "record %s\n", record);
        }
        for (size_t i = 0; i < h->n_guests; i++)
                print_guest(out, &h->guests[i]);
        assert_int_equal(fclose(out), 0);
        return text;
}

Plan *plan_for(const Host *h, PlanKind kind, const char *guest, const PciAddress *a, size_t n) {
        const PlanRequest q = {
                .kind = kind, .controllers = (PciAddress *) a, .n_controllers = n, .guest = (char *) guest,
        };
        _cleanup_error_ Error *e = NULL;
        Plan *p = NULL;

        if (plan_make(h, &q, &p, NULL, &e) < 0)
                fail_msg("%s", e ? e->message : "an error without words");
        return p;
}
