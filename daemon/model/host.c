/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/host.h"

static const char *const disk_use_kind_table[_DISK_USE_MAX] = {
        [DISK_USE_MOUNT] = "mount",
        [DISK_USE_SWAP] = "swap",
        [DISK_USE_GUEST] = "guest",
        [DISK_USE_TARGET] = "target",
        [DISK_USE_PROCESS] = "process",
        [DISK_USE_LOOP] = "loop",
        [DISK_USE_LVM] = "LVM",
        [DISK_USE_CRYPT] = "dm-crypt",
        [DISK_USE_MULTIPATH] = "multipath",
        [DISK_USE_DM] = "device-mapper",
        [DISK_USE_BTRFS] = "btrfs",
        [DISK_USE_ZFS] = "ZFS",
        [DISK_USE_BCACHE] = "bcache",
        [DISK_USE_MD] = "md",
        [DISK_USE_HOLDER] = "holder",
        [DISK_USE_EXCLUSIVE] = "exclusive",
        [DISK_USE_CONFIGURED] = "configured",
};

const char *disk_use_kind_to_string(DiskUseKind k) {
        return k < _DISK_USE_MAX ? disk_use_kind_table[k] : NULL;
}

static const char *const guest_state_table[_GUEST_STATE_MAX] = {
        [GUEST_SHUT_OFF] = "shut off",
        [GUEST_RUNNING] = "running",
        [GUEST_PAUSED] = "paused",
        [GUEST_OTHER] = "in an unusual state",
};

const char *guest_state_to_string(GuestState s) {
        return s < _GUEST_STATE_MAX ? guest_state_table[s] : NULL;
}

Host *host_new(void) {
        Host *h = calloc(1, sizeof *h);

        if (!h)
                return NULL;
        h->iommu_class_known = h->firmware_iommu = h->vfio_pci = h->vfio_noiommu = TRI_UNKNOWN;
        h->iommu_built = h->iommu_default_on = h->cpu_virtualization = h->kvm = TRI_UNKNOWN;
        h->interrupts_remapped = h->idle_d3_disabled = h->ecc = h->quirks_known = TRI_UNKNOWN;
        return h;
}

static void strings_free(char **strings, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(strings[i]);
        free(strings);
}

void quirk_clear(Quirk *q) {
        free(q->name);
        free(q->severity);
        free(q->reason);
        free(q->remedy);
        free(q->source);
}

void claim_clear(Claim *c) {
        free(c->driver);
        free(c->where);
        free(c->text);
}

void pci_function_clear(PciFunction *f) {
        free(f->driver);
        free(f->driver_override);
        free(f->port_path);
        free(f->vendor_name);
        free(f->device_name);
        free(f->reset_method);
        for (size_t i = 0; i < f->n_quirks; i++)
                quirk_clear(&f->quirks[i]);
        free(f->quirks);
}

void iommu_group_clear(IommuGroup *g) {
        free(g->members);
        free(g->regions);
}

void disk_signature_clear(DiskSignature *s) {
        free(s->where);
        free(s->type);
        free(s->label);
        free(s->uuid);
}

void disk_clear(Disk *d) {
        free(d->name);
        free(d->serial);
        free(d->wwn);
        free(d->model);
        for (size_t i = 0; i < d->n_uses; i++)
                free(d->uses[i].chain);
        free(d->uses);
        for (size_t i = 0; i < d->n_signatures; i++)
                disk_signature_clear(&d->signatures[i]);
        free(d->signatures);
        free(d->health);
}

void guest_drive_clear(GuestDrive *d) {
        free(d->name);
        free(d->bus);
        free(d->pool);
        free(d->volume);
        strings_free(d->sources, d->n_sources);
        free(d->controllers);
        free(d->problem);
}

void guest_clear(Guest *g) {
        free(g->name);
        free(g->uuid);
        free(g->owner);
        free(g->definition);
        free(g->live_definition);
        free(g->agent_problem);
        for (size_t i = 0; i < g->n_disks; i++) {
                free(g->disks[i].serial);
                free(g->disks[i].controller);
        }
        free(g->disks);
        for (size_t i = 0; i < g->n_uses; i++) {
                free(g->uses[i].serial);
                free(g->uses[i].controller);
                free(g->uses[i].what);
        }
        free(g->uses);
        for (size_t i = 0; i < g->n_devices; i++)
                free(g->devices[i].alias);
        free(g->devices);
        free(g->memory_nodes);
        for (size_t i = 0; i < g->n_drives; i++)
                guest_drive_clear(&g->drives[i]);
        free(g->drives);
        free(g->machine);
        free(g->emulated_network);
        free(g->system.id);
        free(g->system.name);
        free(g->system.problem);
}

void assigned_clear(Assigned *a) {
        free(a->guest);
        free(a->host_driver);
        free(a->port_path);
        free(a->group_members);
        strings_free(a->disk_serials, a->n_disk_serials);
}

Host *host_free(Host *h) {
        if (!h)
                return NULL;
        for (size_t i = 0; i < h->n_functions; i++)
                pci_function_clear(&h->functions[i]);
        for (size_t i = 0; i < h->n_groups; i++)
                iommu_group_clear(&h->groups[i]);
        for (size_t i = 0; i < h->n_disks; i++)
                disk_clear(&h->disks[i]);
        for (size_t i = 0; i < h->n_controller_uses; i++)
                free(h->controller_uses[i].chain);
        for (size_t i = 0; i < h->n_guests; i++)
                guest_clear(&h->guests[i]);
        for (size_t i = 0; i < h->n_assigned; i++)
                assigned_clear(&h->assigned[i]);
        free(h->functions);
        free(h->groups);
        free(h->disks);
        free(h->controller_uses);
        free(h->guests);
        free(h->assigned);
        free(h->guests_problem);
        firmware_clear(&h->firmware);
        free(h->architecture);
        free(h->command_line);
        free(h->boot_id);
        strings_free(h->iommu_units, h->n_iommu_units);
        for (size_t i = 0; i < h->n_claims; i++)
                claim_clear(&h->claims[i]);
        free(h->claims);
        free(h->unsafe_interrupts);
        free(h->kernel_release);
        free(h->builtin_modules);
        free(h->numa_nodes);
        free(h);
        return NULL;
}

static int compare_functions(const void *a, const void *b) {
        return pci_address_compare(&((const PciFunction *) a)->address, &((const PciFunction *) b)->address);
}

static int compare_addresses(const void *a, const void *b) {
        return pci_address_compare(a, b);
}

static int compare_groups(const void *a, const void *b) {
        int x = ((const IommuGroup *) a)->number, y = ((const IommuGroup *) b)->number;

        return x < y ? -1 : x > y;
}

static int compare_disks(const void *a, const void *b) {
        return strverscmp(((const Disk *) a)->name, ((const Disk *) b)->name);
}

static int compare_guests(const void *a, const void *b) {
        return strcmp(((const Guest *) a)->name, ((const Guest *) b)->name);
}

static int compare_assigned(const void *a, const void *b) {
        return pci_address_compare(&((const Assigned *) a)->address, &((const Assigned *) b)->address);
}

static int compare_claims(const void *a, const void *b) {
        const Claim *x = a, *y = b;
        int r = strcmp(x->where, y->where);

        return r ? r : strcmp(x->text, y->text);
}

static void sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *)) {
        if (n > 1)
                qsort(items, n, size, compare);
}

void host_sort(Host *h) {
        sort(h->functions, h->n_functions, sizeof *h->functions, compare_functions);
        for (size_t i = 0; i < h->n_groups; i++)
                sort(h->groups[i].members, h->groups[i].n_members, sizeof(PciAddress), compare_addresses);
        sort(h->groups, h->n_groups, sizeof *h->groups, compare_groups);
        sort(h->disks, h->n_disks, sizeof *h->disks, compare_disks);
        sort(h->guests, h->n_guests, sizeof *h->guests, compare_guests);
        for (size_t i = 0; i < h->n_assigned; i++)
                sort(h->assigned[i].group_members, h->assigned[i].n_group_members, sizeof(PciAddress), compare_addresses);
        sort(h->assigned, h->n_assigned, sizeof *h->assigned, compare_assigned);
        sort(h->claims, h->n_claims, sizeof *h->claims, compare_claims);
}

const PciFunction *host_find_function(const Host *h, const PciAddress *a) {
        PciFunction key = { .address = *a };

        return h->n_functions ? bsearch(&key, h->functions, h->n_functions, sizeof key, compare_functions) : NULL;
}

const IommuGroup *host_find_group(const Host *h, int number) {
        IommuGroup key = { .number = number };

        return h->n_groups && number >= 0 ? bsearch(&key, h->groups, h->n_groups, sizeof key, compare_groups) : NULL;
}

const IommuGroup *host_group_of(const Host *h, const PciAddress *a) {
        const PciFunction *f = host_find_function(h, a);

        return f ? host_find_group(h, f->group) : NULL;
}

const Guest *host_find_guest(const Host *h, const char *name) {
        for (size_t i = 0; i < h->n_guests; i++)
                if (str_equal(h->guests[i].name, name) && !h->guests[i].session)
                        return &h->guests[i];
        return NULL;
}

const Assigned *host_find_assigned(const Host *h, const PciAddress *a) {
        for (size_t i = 0; i < h->n_assigned; i++)
                if (pci_address_equal(&h->assigned[i].address, a))
                        return &h->assigned[i];
        return NULL;
}

const Guest *host_guest_with_device(const Host *h, const PciAddress *a, const GuestDevice **ret_device) {
        for (size_t i = 0; i < h->n_guests; i++)
                for (size_t j = 0; !h->guests[i].session && j < h->guests[i].n_devices; j++)
                        if (pci_address_equal(&h->guests[i].devices[j].address, a)) {
                                if (ret_device)
                                        *ret_device = &h->guests[i].devices[j];
                                return &h->guests[i];
                        }
        return NULL;
}
