/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One domain's XML, which may come from anywhere: who it is and which host devices it has. */
#include <errno.h>

#include "base/text.h"
#include "probe/guest-parse.h"
#include "probe/probe.h"

int guest_read_pci_address(xmlNodePtr n, PciAddress *ret) {
        unsigned long domain, bus, slot, function;

        if (!n || xml_number(n, "domain", UINT32_MAX, &domain) < 0 || xml_number(n, "bus", 255, &bus) < 0 ||
            xml_number(n, "slot", 31, &slot) < 0 || xml_number(n, "function", 7, &function) < 0)
                return -EINVAL;
        *ret = (PciAddress){ (uint32_t) domain, (uint8_t) bus, (uint8_t) slot, (uint8_t) function };
        return 0;
}

/* The same device may be in the configuration and in the live definition. */
static void merge_device(GuestDevice *known, const GuestDevice *d) {
        known->in_live |= d->in_live;
        known->in_config |= d->in_config;
        known->managed |= d->managed;
        known->nvme |= d->nvme;
        known->boots |= d->boots;
        known->rom_off &= d->rom_off;
        if (known->alias && d->in_live) {
                free(d->alias);
                return;
        }
        free(known->alias);
        known->alias = d->alias;
}

int guest_add_device(Guest *g, const GuestDevice *d) {
        for (size_t i = 0; i < g->n_devices; i++)
                if (pci_address_equal(&g->devices[i].address, &d->address)) {
                        merge_device(&g->devices[i], d);
                        return 0;
                }
        GuestDevice *more = g->n_devices < GUEST_PARTS_MAX ? reallocarray(g->devices, g->n_devices + 1, sizeof *more) : NULL;
        if (!more) {
                free(d->alias);
                return g->n_devices < GUEST_PARTS_MAX ? -ENOMEM : -EINVAL;
        }
        g->devices = more;
        more[g->n_devices++] = *d;
        return 0;
}

/* Off is <rom bar='off'/>, or <rom enabled='no'/> since libvirt 4.3. */
static bool rom_is_off(xmlNodePtr n) {
        xmlNodePtr rom = xml_child(n, "rom");

        return xml_property_is(rom, "bar", "off") || xml_property_is(rom, "enabled", "no");
}

static int read_pci_device(xmlNodePtr n, bool live, Guest *g) {
        GuestDevice d = { .in_live = live, .in_config = !live };

        if (guest_read_pci_address(xml_child(xml_child(n, "source"), "address"), &d.address) < 0)
                return -EINVAL;
        d.alias = xml_property(xml_child(n, "alias"), "name");
        d.managed = xml_property_is(n, "managed", "yes");
        d.rom_off = rom_is_off(n);
        d.boots = xml_child(n, "boot");
        return guest_add_device(g, &d);
}

static int read_hostdev(xmlNodePtr n, bool live, Guest *g) {
        if (xml_property_is(n, "type", "scsi"))
                return guest_read_scsi_device(n, g);
        if (xml_property_is(n, "type", "scsi_host"))
                return guest_read_vhost_target(n, g);
        return xml_property_is(n, "type", "pci") ? read_pci_device(n, live, g) : 0;
}

/* A network card of the host, or a virtual function, written as an interface. */
static bool is_host_interface(xmlNodePtr n) {
        return xmlStrEqual(n->name, BAD_CAST "interface") && xml_property_is(n, "type", "hostdev") &&
               xml_property_is(xml_child(xml_child(n, "source"), "address"), "type", "pci");
}

static int read_devices(xmlNodePtr devices, bool live, Guest *g) {
        int r = 0;

        for (xmlNodePtr n = devices ? devices->children : NULL; n && r >= 0; n = n->next) {
                if (n->type != XML_ELEMENT_NODE)
                        continue;
                if (xmlStrEqual(n->name, BAD_CAST "hostdev"))
                        r = read_hostdev(n, live, g);
                else if (xmlStrEqual(n->name, BAD_CAST "disk"))
                        r = guest_read_disk(n, live, g);
                else if (is_host_interface(n))
                        r = read_pci_device(n, live, g);
        }
        return r < 0 ? r : guest_read_scsi_controllers(devices, g);
}

/* Tools that keep a domain's definition themselves, by the namespace of their metadata. What only annotates (libosinfo,
 * cockpit) is none of them. */
static const struct {
        const char *namespace, *name;
} owners[] = {
        { "http://openstack.org/xmlns/libvirt/nova/", "OpenStack Nova" },
        { "http://ovirt.org/vm/", "oVirt" },
        { "http://kubevirt.io", "KubeVirt" },
        { "https://opennebula.org/", "OpenNebula" },
        { "http://opennebula.org/", "OpenNebula" },
        { "https://cloudstack.apache.org/", "Apache CloudStack" },
};

static int read_owner(xmlNodePtr metadata, Guest *g) {
        for (xmlNodePtr n = metadata ? metadata->children : NULL; n && !g->owner; n = n->next)
                for (size_t i = 0; n->type == XML_ELEMENT_NODE && n->ns && n->ns->href && !g->owner && i < ELEMENTSOF(owners); i++)
                        if (strncmp((const char *) n->ns->href, owners[i].namespace, strlen(owners[i].namespace)) == 0 &&
                            !(g->owner = strdup(owners[i].name)))
                                return -ENOMEM;
        return 0;
}

/* The persistent definition counts, and a transient guest's only one. */
static void read_memory_nodes(xmlNodePtr numatune, bool live, Guest *g) {
        if (live && g->memory_nodes)
                return;
        free(g->memory_nodes);
        g->memory_nodes = xml_property(xml_child(numatune, "memory"), "nodeset");
        text_clean(g->memory_nodes);
}

/* For a recording. The text may be the one that is there already. */
static int keep_definition(const char *xml, bool live, Guest *g) {
        char **definition = live ? &g->live_definition : &g->definition, *copy = strdup(xml);

        if (!copy)
                return -ENOMEM;
        free(*definition);
        *definition = copy;
        return 0;
}

int guest_read_domain(xmlNodePtr domain, bool live, Guest *g, Error **e) {
        if (!domain)
                return error_set(e, EINVAL, "a guest's definition is no domain XML");
        if (!g->name && !(g->name = xml_text(xml_child(domain, "name"))))
                return error_set(e, EINVAL, "a guest's definition has no name");
        if (!g->uuid)
                g->uuid = xml_text(xml_child(domain, "uuid"));
        if (read_owner(xml_child(domain, "metadata"), g) < 0 || guest_read_resources(domain, live, g) < 0)
                return error_oom(e);
        read_memory_nodes(xml_child(domain, "numatune"), live, g);
        int r = read_devices(xml_child(domain, "devices"), live, g);
        if (r == -ENOMEM)
                return error_oom(e);
        if (r < 0)
                return error_set(e, -r, "the definition of guest %s cannot be understood: a host device without a usable address, "
                                        "or more devices than any guest has", g->name);
        return 0;
}

int guest_from_xml(const char *xml, bool live, Guest *g, Error **e) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = xml_parse(xml, "domain");

        int r = guest_read_domain(doc ? xmlDocGetRootElement(doc) : NULL, live, g, e);

        return r < 0 ? r : keep_definition(xml, live, g) < 0 ? error_oom(e) : 0;
}
