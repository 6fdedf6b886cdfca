/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of one assigned controller: identity, and the JSON of its file in /etc/passthru/assignments.d. */
#include "model/controller.h"

#include <errno.h>
#include <stdarg.h>

#define ASSIGNED_VERSION 1

static char *addresses_join(const PciAddress *a, size_t n) {
        char *joined = NULL;
        size_t size;
        FILE *f = open_memstream(&joined, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < n; i++)
                (void) fprintf(f, "%s%s", i ? " " : "", PCI_ADDRESS_STR(&a[i]));
        if (fclose(f) != 0)
                return NULL;
        return joined;
}

_printf_(2, 3) static bool differs(char **ret_why, const char *format, ...) {
        va_list ap;

        if (!ret_why)
                return false;
        va_start(ap, format);
        if (vasprintf(ret_why, format, ap) < 0)
                *ret_why = NULL;
        va_end(ap);
        return false;
}

static bool group_matches(const Assigned *a, const Host *h, const PciFunction *f, char **ret_why) {
        const IommuGroup *g = host_find_group(h, f->group);
        size_t n = g ? g->n_members : 0;
        bool equal = n == a->n_group_members;

        for (size_t i = 0; equal && i < n; i++)
                equal = pci_address_equal(&g->members[i], &a->group_members[i]);
        if (equal)
                return true;
        _cleanup_free_ char *was = addresses_join(a->group_members, a->n_group_members), *is = addresses_join(g ? g->members : NULL, n);
        return differs(ret_why, "its IOMMU group was {%s} and is {%s}", was ? was : "", is ? is : "");
}

bool assigned_is_device(const Assigned *a, const PciFunction *f, char **ret_why) {
        if (!str_equal(a->port_path, f->port_path))
                return differs(ret_why, "its port path was %s and is %s", a->port_path ? a->port_path : "unknown",
                               f->port_path ? f->port_path : "unknown");
        if (a->vendor != f->vendor || a->device != f->device)
                return differs(ret_why, "its ids were %04x:%04x and are %04x:%04x", a->vendor, a->device, f->vendor, f->device);
        if (a->subsystem_vendor != f->subsystem_vendor || a->subsystem_device != f->subsystem_device)
                return differs(ret_why, "its subsystem ids were %04x:%04x and are %04x:%04x", a->subsystem_vendor,
                               a->subsystem_device, f->subsystem_vendor, f->subsystem_device);
        if (a->class != f->class || a->revision != f->revision)
                return differs(ret_why, "its class and revision were %06x rev %02x and are %06x rev %02x", a->class, a->revision,
                               f->class, f->revision);
        if (a->has_serial != f->has_serial || (a->has_serial && a->serial != f->serial))
                return differs(ret_why, "its PCIe serial number is another one");
        return true;
}

bool assigned_matches(const Assigned *a, const Host *h, const PciFunction *f, char **ret_why) {
        return assigned_is_device(a, f, ret_why) && group_matches(a, h, f, ret_why);
}

/* -- making and reading ------------------------------------------------------------------------------------------------- */

static int copy_string(char **ret, const char *s) {
        if (!s)
                return 0;
        *ret = strdup(s);
        return *ret ? 0 : -ENOMEM;
}

static int add_disk_serial(Assigned *a, const char *serial) {
        char **serials = reallocarray(a->disk_serials, a->n_disk_serials + 1, sizeof *serials);

        if (!serials)
                return -ENOMEM;
        a->disk_serials = serials;
        if (!(serials[a->n_disk_serials] = strdup(serial)))
                return -ENOMEM;
        a->n_disk_serials++;
        return 0;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int fill_from_host(const Host *h, const PciFunction *f, const char *guest, Assigned *a) {
        const IommuGroup *g = host_find_group(h, f->group);
        int r;

        if ((r = copy_string(&a->guest, guest)) < 0 || (r = copy_string(&a->host_driver, f->driver)) < 0 ||
            (r = copy_string(&a->port_path, f->port_path)) < 0)
                return r;
        if (g && g->n_members > 0) {
                a->group_members = reallocarray(NULL, g->n_members, sizeof *a->group_members);
                if (!a->group_members)
                        return -ENOMEM;
                memcpy(a->group_members, g->members, g->n_members * sizeof *g->members);
                a->n_group_members = g->n_members;
        }
        for (size_t i = 0; i < h->n_disks; i++) {
                const Disk *d = &h->disks[i];
                const char *serial = d->serial ? d->serial : d->wwn;
                if (pci_address_equal(&d->controller, &f->address) && serial && (r = add_disk_serial(a, serial)) < 0)
                        return r;
        }
        /* The kernel names disks in the order in which they answer: the same disks make the same record. */
        if (a->n_disk_serials > 1)
                qsort(a->disk_serials, a->n_disk_serials, sizeof *a->disk_serials, compare_strings);
        return 0;
}

int assigned_from_host(const Host *h, const PciFunction *f, const char *guest, Assigned *ret) {
        Assigned a = {
                .address = f->address,
                .vendor = f->vendor,
                .device = f->device,
                .subsystem_vendor = f->subsystem_vendor,
                .subsystem_device = f->subsystem_device,
                .class = f->class,
                .revision = f->revision,
                .has_serial = f->has_serial,
                .serial = f->serial,
        };
        int r = fill_from_host(h, f, guest, &a);

        if (r < 0) {
                assigned_clear(&a);
                return r;
        }
        *ret = a;
        return 0;
}

static json_t *hex_json(uint64_t value, int width) {
        char text[24];

        (void) snprintf(text, sizeof text, "0x%0*llx", width, (unsigned long long) value);
        return json_string(text);
}

json_t *assigned_to_json(const Assigned *a) {
        _cleanup_json_ json_t *members = json_array(), *serials = json_array();

        for (size_t i = 0; i < a->n_group_members; i++)
                json_array_append_new(members, json_string(PCI_ADDRESS_STR(&a->group_members[i])));
        for (size_t i = 0; i < a->n_disk_serials; i++)
                json_array_append_new(serials, json_string(a->disk_serials[i]));
        return json_pack("{s:i, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O, s:O}", "version", ASSIGNED_VERSION,
                         "address", PCI_ADDRESS_STR(&a->address), "guest", a->guest, "host_driver", a->host_driver, "port_path",
                         a->port_path, "vendor", hex_json(a->vendor, 4), "device", hex_json(a->device, 4), "subsystem_vendor",
                         hex_json(a->subsystem_vendor, 4), "subsystem_device", hex_json(a->subsystem_device, 4), "class",
                         hex_json(a->class, 6), "revision", hex_json(a->revision, 2), "serial",
                         a->has_serial ? hex_json(a->serial, 16) : json_null(), "group_members", members, "disk_serials",
                         serials);
}

/* A number written as "0x..." no larger than limit. */
static int read_hex(const json_t *j, const char *key, uint64_t limit, uint64_t *ret) {
        const char *text = json_string_value(json_object_get(j, key));
        char *end;

        if (!text || strncmp(text, "0x", 2) != 0 || strspn(text + 2, "0123456789abcdefABCDEF") != strlen(text + 2) || !text[2])
                return -EINVAL;
        errno = 0;
        unsigned long long n = strtoull(text, &end, 16);
        if (errno || n > limit)
                return -EINVAL;
        *ret = n;
        return 0;
}

static int read_ids(const json_t *j, Assigned *a) {
        uint64_t vendor, device, subvendor, subdevice, class, revision;

        if (read_hex(j, "vendor", 0xffff, &vendor) < 0 || read_hex(j, "device", 0xffff, &device) < 0 ||
            read_hex(j, "subsystem_vendor", 0xffff, &subvendor) < 0 || read_hex(j, "subsystem_device", 0xffff, &subdevice) < 0 ||
            read_hex(j, "class", 0xffffff, &class) < 0 || read_hex(j, "revision", 0xff, &revision) < 0)
                return -EINVAL;
        a->vendor = (uint16_t) vendor;
        a->device = (uint16_t) device;
        a->subsystem_vendor = (uint16_t) subvendor;
        a->subsystem_device = (uint16_t) subdevice;
        a->class = (uint32_t) class;
        a->revision = (uint8_t) revision;
        const json_t *serial = json_object_get(j, "serial");
        if (!json_is_null(serial)) {
                a->has_serial = true;
                return read_hex(j, "serial", UINT64_MAX, &a->serial);
        }
        return 0;
}

static int read_members(const json_t *array, Assigned *a) {
        size_t i;
        json_t *item;

        if (!json_is_array(array) || json_array_size(array) > 4096)
                return -EINVAL;
        if (json_array_size(array) == 0)
                return 0;
        a->group_members = calloc(json_array_size(array), sizeof *a->group_members);
        if (!a->group_members)
                return -ENOMEM;
        json_array_foreach(array, i, item) {
                if (pci_address_parse(json_string_value(item), &a->group_members[i]) < 0)
                        return -EINVAL;
                a->n_group_members++;
        }
        return 0;
}

static int read_serials(const json_t *array, Assigned *a) {
        size_t i;
        json_t *item;

        if (!json_is_array(array) || json_array_size(array) > 4096)
                return -EINVAL;
        json_array_foreach(array, i, item) {
                if (!json_is_string(item))
                        return -EINVAL;
                int r = add_disk_serial(a, json_string_value(item));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int assigned_fill(const json_t *j, Assigned *a, Error **e) {
        const char *address = NULL, *guest = NULL;
        int version = 0, r;

        if (json_unpack((json_t *) j, "{s:i}", "version", &version) < 0)
                return error_set(e, EINVAL, "an assignment without a version");
        if (version != ASSIGNED_VERSION)
                return error_set_full(e, EINVAL, "version", "Use the version of passthru that wrote it.",
                                      "an assignment of version %d, but only version %d is known", version, ASSIGNED_VERSION);
        if (json_unpack((json_t *) j, "{s:s, s:s}", "address", &address, "guest", &guest) < 0 ||
            pci_address_parse(address, &a->address) < 0 || !*guest)
                return error_set(e, EINVAL, "an assignment without a usable address and guest");
        if ((r = copy_string(&a->guest, guest)) < 0 ||
            (r = copy_string(&a->host_driver, json_string_value(json_object_get(j, "host_driver")))) < 0 ||
            (r = copy_string(&a->port_path, json_string_value(json_object_get(j, "port_path")))) < 0)
                return error_oom(e);
        if (read_ids(j, a) < 0)
                return error_set(e, EINVAL, "the assignment of %s lacks usable ids", address);
        if ((r = read_members(json_object_get(j, "group_members"), a)) < 0 ||
            (r = read_serials(json_object_get(j, "disk_serials"), a)) < 0)
                return error_set(e, -r, "the assignment of %s lacks usable group members or disk serials", address);
        return 0;
}

int assigned_from_json(const json_t *j, Assigned *ret, Error **e) {
        Assigned a = {};
        int r = assigned_fill(j, &a, e);

        if (r < 0) {
                assigned_clear(&a);
                return r;
        }
        *ret = a;
        return 0;
}
