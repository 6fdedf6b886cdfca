/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks in a domain's XML, and the SCSI devices of the host that it has directly. */
#include <errno.h>

#include "probe/guest-parse.h"

/* Images on images on ... */
#define BACKING_MAX 64
/* Of one drive: of both definitions, with all that they are based on. */
#define SOURCES_MAX 256
#define SCSI_CONTROLLERS_MAX 64

int drive_add_source(GuestDrive *d, char *source) {
        if (!source)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_sources; i++)
                if (str_equal(d->sources[i], source)) {
                        free(source);
                        return 0;
                }
        char **more = d->n_sources < SOURCES_MAX ? reallocarray(d->sources, d->n_sources + 1, sizeof *more) : NULL;
        if (!more) {
                free(source);
                return d->n_sources < SOURCES_MAX ? -ENOMEM : -EINVAL;
        }
        d->sources = more;
        more[d->n_sources++] = source;
        return 0;
}

/* The configured and the live definition may name different sources for the same drive: both count. */
static int merge_drive(GuestDrive *known, GuestDrive *d) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < d->n_sources; i++)
                r = drive_add_source(known, TAKE_PTR(d->sources[i]));
        if (!known->pool) {
                known->pool = TAKE_PTR(d->pool);
                known->volume = TAKE_PTR(d->volume);
        }
        guest_drive_clear(d);
        return r;
}

static int add_drive(Guest *g, GuestDrive *d) {
        for (size_t i = 0; i < g->n_drives; i++)
                if (g->drives[i].scsi_device == d->scsi_device && str_equal(g->drives[i].name, d->name))
                        return merge_drive(&g->drives[i], d);
        GuestDrive *more = g->n_drives < GUEST_PARTS_MAX ? reallocarray(g->drives, g->n_drives + 1, sizeof *more) : NULL;
        if (!more) {
                guest_drive_clear(d);
                return g->n_drives < GUEST_PARTS_MAX ? -ENOMEM : -EINVAL;
        }
        g->drives = more;
        more[g->n_drives++] = *d;
        return 0;
}

/* QEMU's own NVMe driver takes the whole controller, as a host device would. */
static int read_nvme(xmlNodePtr source, bool live, Guest *g) {
        GuestDevice d = { .nvme = true, .rom_off = true, .in_live = live, .in_config = !live };

        if (guest_read_pci_address(xml_child(source, "address"), &d.address) < 0)
                return -EINVAL;
        d.managed = xml_property_is(source, "managed", "yes");
        return guest_add_device(g, &d);
}

static int read_source(xmlNodePtr source, GuestDrive *d) {
        char *path = xml_property(source, "dev");

        if (!path)
                path = xml_property(source, "file");
        return path ? drive_add_source(d, path) : 0;
}

/* The image, those that it is based on, and the one that it is being copied to. */
static int read_sources(xmlNodePtr disk, GuestDrive *d) {
        int r = read_source(xml_child(disk, "source"), d);
        unsigned depth = 0;

        if (r >= 0)
                r = read_source(xml_child(xml_child(disk, "mirror"), "source"), d);
        for (xmlNodePtr n = xml_child(disk, "backingStore"); r >= 0 && n && depth++ < BACKING_MAX; n = xml_child(n, "backingStore"))
                r = read_source(xml_child(n, "source"), d);
        return r;
}

int guest_read_disk(xmlNodePtr n, bool live, Guest *g) {
        xmlNodePtr source = xml_child(n, "source"), target = xml_child(n, "target");
        unsigned long order = 0;
        GuestDrive d = {};

        if (xml_property_is(n, "type", "nvme"))
                return read_nvme(source, live, g);
        (void) xml_number(xml_child(n, "boot"), "order", UINT32_MAX, &order);
        d.boot_order = (unsigned) order;
        /* libvirt demands a name; a file may have none. */
        if (!(d.name = xml_property(target, "dev")) && !(d.name = strdup("?")))
                return -ENOMEM;
        d.bus = xml_property(target, "bus");
        d.fixed = !xml_property_is(n, "device", "cdrom") && !xml_property_is(n, "device", "floppy");
        d.paravirtual = str_equal(d.bus, "virtio");
        if (xml_property_is(n, "type", "volume")) {
                d.pool = xml_property(source, "pool");
                d.volume = d.pool ? xml_property(source, "volume") : NULL;
        }
        int r = read_sources(n, &d);
        if (r >= 0)
                return add_drive(g, &d);
        guest_drive_clear(&d);
        return r;
}

/* <adapter name='scsi_host2'/><address bus='0' target='0' unit='0'/>; one of iSCSI has a host and is reached over the network. */
int guest_read_scsi_device(xmlNodePtr n, Guest *g) {
        xmlNodePtr source = xml_child(n, "source"), address = xml_child(source, "address");
        _cleanup_free_ char *adapter = xml_property(xml_child(source, "adapter"), "name");
        unsigned long bus, target, unit;
        GuestDrive d = { .scsi_device = true };

        if (!adapter)
                return 0;
        if (xml_number(address, "bus", UINT32_MAX, &bus) < 0 || xml_number(address, "target", UINT32_MAX, &target) < 0 ||
            xml_number(address, "unit", UINT64_MAX, &unit) < 0)
                return -EINVAL;
        if (asprintf(&d.name, "%s:%lu:%lu:%lu", adapter, bus, target, unit) < 0)
                return -ENOMEM;
        return add_drive(g, &d);
}

/* <source protocol='vhost' wwpn='naa.6001'/>: a target in the kernel, which has its own disks of the host. */
int guest_read_vhost_target(xmlNodePtr n, Guest *g) {
        GuestDrive d = { .scsi_device = true };

        d.name = xml_property(xml_child(n, "source"), "wwpn");
        return d.name ? add_drive(g, &d) : 0;
}

static int controller_number(xmlNodePtr n, const char *name, unsigned long *ret) {
        return xml_number(n, name, UINT32_MAX, ret);
}

/* The index of each virtio-scsi controller; a disk's address names its controller's. */
int guest_read_scsi_controllers(xmlNodePtr devices, Guest *g) {
        unsigned controllers = 0;

        for (xmlNodePtr c = devices ? devices->children : NULL; c; c = c->next) {
                _cleanup_free_ char *model = c->type == XML_ELEMENT_NODE ? xml_property(c, "model") : NULL;
                unsigned long index, used;
                if (!model || !xmlStrEqual(c->name, BAD_CAST "controller") || !xml_property_is(c, "type", "scsi") ||
                    strncmp(model, "virtio", 6) != 0 || controller_number(c, "index", &index) < 0)
                        continue;
                if (++controllers > SCSI_CONTROLLERS_MAX)
                        return -EINVAL;
                for (xmlNodePtr n = devices->children; n; n = n->next) {
                        if (n->type != XML_ELEMENT_NODE || !xmlStrEqual(n->name, BAD_CAST "disk") ||
                            controller_number(xml_child(n, "address"), "controller", &used) < 0 || used != index)
                                continue;
                        _cleanup_free_ char *name = xml_property(xml_child(n, "target"), "dev");
                        for (size_t i = 0; i < g->n_drives; i++)
                                if (str_equal(g->drives[i].bus, "scsi") && str_equal(g->drives[i].name, name))
                                        g->drives[i].paravirtual = true;
                }
        }
        return 0;
}
