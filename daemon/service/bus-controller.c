/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "service/bus.h"

/*
 * org.passthru1.Controller at /org/passthru1/controller/ADDRESS. Anyone may read properties, so there is nothing here
 * that tells of disks or guests.
 */
struct Controller {
        char *path;
        char *address;
        uint16_t vendor, device;
        char *driver; /* "" none */
        int32_t group; /* -1 none */
        char *state;
};

static const sd_bus_vtable controller_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Address", "s", NULL, offsetof(Controller, address), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Vendor", "q", NULL, offsetof(Controller, vendor), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Device", "q", NULL, offsetof(Controller, device), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Driver", "s", NULL, offsetof(Controller, driver), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("IommuGroup", "i", NULL, offsetof(Controller, group), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", NULL, offsetof(Controller, state), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

static void controller_clear(Controller *c) {
        free(c->path);
        free(c->address);
        free(c->driver);
        free(c->state);
        *c = (Controller) {};
}

static uint16_t row_id(const json_t *row, const char *key) {
        const char *text = json_string_value(json_object_get(row, key));

        return (uint16_t) (text ? strtoul(text, NULL, 16) : 0);
}

static char *row_string(const json_t *row, const char *key) {
        const char *text = json_string_value(json_object_get(row, key));

        return strdup(text ? text : "");
}

/* "/org/passthru1/controller/0000_03_00_0": unambiguous, since an address has its parts in fixed order. */
static char *controller_path(const char *address) {
        char *path;

        if (asprintf(&path, BUS_PATH "/controller/%s", address) < 0)
                return NULL;
        for (char *c = path + strlen(BUS_PATH "/controller/"); *c; c++)
                if (*c == ':' || *c == '.')
                        *c = '_';
        return path;
}

static int controller_from_row(const json_t *row, Controller *ret) {
        const json_t *group = json_object_get(row, "iommu_group");
        PciAddress address;
        Controller c = {
                .vendor = row_id(row, "vendor"),
                .device = row_id(row, "device"),
                .group = json_is_integer(group) ? (int32_t) json_integer_value(group) : -1,
                .address = row_string(row, "address"),
                .driver = row_string(row, "driver"),
                .state = row_string(row, "state"),
        };

        c.path = c.address && pci_address_parse(c.address, &address) >= 0 ? controller_path(c.address) : NULL;
        if (!c.path || !c.driver || !c.state) {
                controller_clear(&c);
                return -EINVAL;
        }
        *ret = c;
        return 0;
}

static Controller *controller_find(Controller *items, size_t n, const char *path) {
        for (size_t i = 0; i < n; i++)
                if (str_equal(items[i].path, path))
                        return &items[i];
        return NULL;
}

/* ---- objects ---- */

static int find_object(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                       sd_bus_error *error) {
        Manager *m = userdata;

        (void) bus, (void) interface, (void) error;
        *ret = controller_find(m->controllers, m->n_controllers, path);
        return *ret ? 1 : 0;
}

static int list_nodes(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        const Manager *m = userdata;
        size_t n = 0;

        (void) bus, (void) prefix, (void) error;
        char **nodes = calloc(m->n_controllers + 1, sizeof *nodes); /* libsystemd frees it */
        if (!nodes)
                return -ENOMEM;
        for (size_t i = 0; i < m->n_controllers; i++)
                if ((nodes[n] = strdup(m->controllers[i].path)))
                        n++;
        *ret = nodes;
        return 0;
}

int bus_controller_register(Manager *m) {
        const char *prefix = BUS_PATH "/controller";

        int r = sd_bus_add_fallback_vtable(m->bus, NULL, prefix, BUS_CONTROLLER, controller_vtable, find_object, m);
        return r < 0 ? r : sd_bus_add_node_enumerator(m->bus, NULL, prefix, list_nodes, m);
}

/* ---- differences ---- */

static void controller_changed(Manager *m, const Controller *old, const Controller *new) {
        char *names[6] = {};
        size_t n = 0;

        if (old->vendor != new->vendor)
                names[n++] = (char *) "Vendor";
        if (old->device != new->device)
                names[n++] = (char *) "Device";
        if (!str_equal(old->driver, new->driver))
                names[n++] = (char *) "Driver";
        if (old->group != new->group)
                names[n++] = (char *) "IommuGroup";
        if (!str_equal(old->state, new->state))
                names[n++] = (char *) "State";
        if (n > 0)
                (void) sd_bus_emit_properties_changed_strv(m->bus, new->path, BUS_CONTROLLER, names);
}

static Controller *controllers_from_list(const json_t *list, size_t *ret_n) {
        size_t n = 0, i;
        json_t *row;

        Controller *items = calloc(json_array_size(list) + 1, sizeof *items);
        json_array_foreach((json_t *) list, i, row)
                if (items && controller_from_row(row, &items[n]) >= 0)
                        n++;
        *ret_n = n;
        return items;
}

static void controllers_free(Controller *items, size_t n) {
        for (size_t i = 0; i < n; i++)
                controller_clear(&items[i]);
        free(items);
}

void controllers_update(Manager *m, const json_t *list) {
        Controller *old = m->controllers;
        size_t n_old = m->n_controllers, n;

        Controller *new = controllers_from_list(list, &n);
        if (!new)
                return;
        /* An object must still be there while it is announced as gone, and be there already when announced as new. */
        for (size_t i = 0; i < n_old; i++)
                if (!controller_find(new, n, old[i].path))
                        (void) sd_bus_emit_object_removed(m->bus, old[i].path);
        m->controllers = new;
        m->n_controllers = n;
        for (size_t i = 0; i < n; i++) {
                const Controller *before = controller_find(old, n_old, new[i].path);
                if (before)
                        controller_changed(m, before, &new[i]);
                else
                        (void) sd_bus_emit_object_added(m->bus, new[i].path);
        }
        controllers_free(old, n_old);
}

void controllers_clear(Manager *m) {
        controllers_free(m->controllers, m->n_controllers);
        m->controllers = NULL;
        m->n_controllers = 0;
}
