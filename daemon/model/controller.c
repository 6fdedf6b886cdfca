/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/controller.h"

static const char *const controller_state_table[_CONTROLLER_STATE_MAX] = {
        [CONTROLLER_HOST] = "host",
        [CONTROLLER_RESERVED] = "reserved",
        [CONTROLLER_ATTACHED] = "attached",
        [CONTROLLER_RUNNING] = "running",
        [CONTROLLER_BUSY] = "busy",
        [CONTROLLER_FOREIGN] = "foreign",
        [CONTROLLER_FENCED] = "fenced",
        [CONTROLLER_MISSING] = "missing",
        [CONTROLLER_MISMATCH] = "mismatch",
        [CONTROLLER_FAILED] = "failed",
};

const char *controller_state_to_string(ControllerState s) {
        return s < _CONTROLLER_STATE_MAX ? controller_state_table[s] : NULL;
}

ControllerState host_controller_state(const Host *h, const PciFunction *f, const Assigned *a) {
        const GuestDevice *device = NULL;

        if (!a)
                return f && pci_driver_is_vfio(f->driver) ? CONTROLLER_FOREIGN : CONTROLLER_HOST;
        if (!f)
                return CONTROLLER_MISSING;
        if (!assigned_matches(a, h, f, NULL))
                return CONTROLLER_MISMATCH;
        if (!pci_driver_is_vfio(f->driver))
                return CONTROLLER_FAILED;
        const IommuGroup *group = host_find_group(h, f->group);
        if (!h->guests_known && group && group->open == TRI_YES)
                return CONTROLLER_RUNNING;
        const Guest *g = host_guest_with_device(h, &a->address, &device);
        if (!g || !str_equal(g->name, a->guest))
                return CONTROLLER_RESERVED;
        return device->in_live && g->state != GUEST_SHUT_OFF ? CONTROLLER_RUNNING : CONTROLLER_ATTACHED;
}

static json_t *disk_to_json(const Disk *d) {
        _cleanup_json_ json_t *users = json_array();

        for (size_t i = 0; i < d->n_uses; i++)
                json_array_append_new(users, json_string(d->uses[i].chain));
        return json_pack("{s:s, s:s?, s:I, s:O}", "name", d->name, "serial", d->serial, "size", (json_int_t) d->size, "users",
                         users);
}

static json_t *disks_to_json(const Host *h, const PciAddress *controller) {
        json_t *disks = json_array();

        for (size_t i = 0; i < h->n_disks; i++)
                if (pci_address_equal(&h->disks[i].controller, controller))
                        json_array_append_new(disks, disk_to_json(&h->disks[i]));
        return disks;
}

static json_t *members_to_json(const IommuGroup *g) {
        json_t *members = json_array();

        for (size_t i = 0; g && i < g->n_members; i++)
                json_array_append_new(members, json_string(PCI_ADDRESS_STR(&g->members[i])));
        return members;
}

static json_t *tri_to_json(Tri t) {
        return t == TRI_UNKNOWN ? json_null() : json_boolean(t == TRI_YES);
}

static json_t *id_to_json(unsigned id, int width) {
        char text[16];

        (void) snprintf(text, sizeof text, "%0*x", width, id);
        return json_string(text);
}

json_t *controller_to_json(const Host *h, const PciFunction *f) {
        const Assigned *a = host_find_assigned(h, &f->address);
        const IommuGroup *g = host_find_group(h, f->group);
        _cleanup_free_ char *model = pci_function_model(f);

        return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s?, s:s?, s:o, s:o, s:o, s:o, s:s, s:s?, s:s?}", "address",
                         PCI_ADDRESS_STR(&f->address), "kind", pci_function_kind(f), "class", id_to_json(f->class, 6), "vendor",
                         id_to_json(f->vendor, 4), "device", id_to_json(f->device, 4), "model", model, "driver", f->driver,
                         "iommu_group", g ? json_integer(g->number) : json_null(), "members", members_to_json(g), "isolated",
                         tri_to_json(host_group_isolated(h, f, NULL, 0)), "disks", disks_to_json(h, &f->address), "state",
                         controller_state_to_string(host_controller_state(h, f, a)), "guest", a ? a->guest : NULL, "guests_problem",
                         h->guests_problem);
}

/* What is recorded of a controller that is not there any more. */
static json_t *missing_to_json(const Host *h, const Assigned *a) {
        const PciFunction f = {
                .address = a->address, .class = a->class, .vendor = a->vendor, .device = a->device, .group = -1,
        };
        _cleanup_json_ json_t *row = controller_to_json(h, &f);

        if (!row || json_object_set_new(row, "state", json_string(controller_state_to_string(CONTROLLER_MISSING))) < 0)
                return NULL;
        return TAKE_PTR(row);
}

json_t *host_list_to_json(const Host *h) {
        json_t *list = json_array();

        for (size_t i = 0; i < h->n_functions; i++)
                if (pci_function_is_controller(&h->functions[i]))
                        json_array_append_new(list, controller_to_json(h, &h->functions[i]));
        for (size_t i = 0; i < h->n_assigned; i++)
                if (!host_find_function(h, &h->assigned[i].address))
                        json_array_append_new(list, missing_to_json(h, &h->assigned[i]));
        return list;
}

static json_t *function_brief_to_json(const PciFunction *f) {
        _cleanup_free_ char *model = pci_function_model(f);

        return json_pack("{s:s, s:o, s:s?, s:s?}", "address", PCI_ADDRESS_STR(&f->address), "class", id_to_json(f->class, 6),
                         "model", model, "driver", f->driver);
}

static json_t *upstream_to_json(const Host *h, const PciFunction *f) {
        json_t *bridges = json_array();
        const PciFunction *p = f;

        /* A tree of buses is at most 256 deep: a loop in a bad recording ends here. */
        for (unsigned depth = 0; p->has_parent && depth < 256; depth++) {
                p = host_find_function(h, &p->parent);
                if (!p)
                        break;
                json_array_append_new(bridges, function_brief_to_json(p));
        }
        return bridges;
}

static const char *region_kind_to_string(RegionKind k) {
        static const char *const names[] = { "direct", "direct-relaxable", "reserved", "msi", "other" };

        return names[k];
}

static json_t *regions_to_json(const IommuGroup *g) {
        json_t *regions = json_array();
        char start[20], end[20];

        for (size_t i = 0; g && i < g->n_regions; i++) {
                (void) snprintf(start, sizeof start, "0x%llx", (unsigned long long) g->regions[i].start);
                (void) snprintf(end, sizeof end, "0x%llx", (unsigned long long) g->regions[i].end);
                json_array_append_new(regions, json_pack("{s:s, s:s, s:s}", "start", start, "end", end, "kind",
                                                         region_kind_to_string(g->regions[i].kind)));
        }
        return regions;
}

json_t *controller_show_to_json(const Host *h, const PciFunction *f) {
        const IommuGroup *g = host_find_group(h, f->group);
        _cleanup_json_ json_t *show = controller_to_json(h, f), *members = json_array();

        if (!show)
                return NULL;
        for (size_t i = 0; g && i < g->n_members; i++) {
                const PciFunction *m = host_find_function(h, &g->members[i]);
                if (m)
                        json_array_append_new(members, function_brief_to_json(m));
        }
        _cleanup_json_ json_t *more = json_pack("{s:s?, s:s?, s:s?, s:O, s:o, s:o}", "port_path", f->port_path, "reset_method",
                                                f->reset_method, "driver_override", f->driver_override, "group", members,
                                                "upstream", upstream_to_json(h, f), "reserved_regions", regions_to_json(g));
        if (!more || json_object_update(show, more) < 0)
                return NULL;
        return TAKE_PTR(show);
}

static char *status_message(const Host *h, const PciFunction *f, const Assigned *a, ControllerState s) {
        _cleanup_free_ char *why = NULL;
        char *message = NULL;
        int r;

        switch (s) {
        case CONTROLLER_MISSING:
                r = asprintf(&message, "nothing is at this address; put the card back or release it");
                break;
        case CONTROLLER_MISMATCH:
                (void) assigned_matches(a, h, f, &why);
                r = asprintf(&message, "other hardware is at this address: %s; release it and assign again", why ? why : "");
                break;
        case CONTROLLER_FAILED:
                r = asprintf(&message, "bound to %s instead of vfio-pci; release it, then assign it again",
                             f->driver ? f->driver : "no driver");
                break;
        case CONTROLLER_RESERVED:
        case CONTROLLER_ATTACHED:
        case CONTROLLER_RUNNING:
                if (h->guests_problem)
                        r = asprintf(&message, "bound to vfio-pci; the guest is not known: %s", h->guests_problem);
                else if (s == CONTROLLER_RESERVED)
                        r = asprintf(&message, "bound to vfio-pci, not in the guest's definition");
                else
                        return NULL;
                break;
        default:
                return NULL;
        }
        return r < 0 ? NULL : message;
}

json_t *host_status_to_json(const Host *h) {
        json_t *status = json_array();

        for (size_t i = 0; i < h->n_assigned; i++) {
                const Assigned *a = &h->assigned[i];
                const PciFunction *f = host_find_function(h, &a->address);
                ControllerState s = host_controller_state(h, f, a);
                bool healthy = s == CONTROLLER_RESERVED || s == CONTROLLER_ATTACHED || s == CONTROLLER_RUNNING;
                _cleanup_free_ char *message = status_message(h, f, a, s);
                json_array_append_new(status, json_pack("{s:s, s:s, s:s, s:b, s:s?, s:s?}", "address",
                                                        PCI_ADDRESS_STR(&a->address), "guest", a->guest, "state",
                                                        controller_state_to_string(s), "healthy", healthy, "message", message,
                                                        "guests_problem", h->guests_problem));
        }
        return status;
}
