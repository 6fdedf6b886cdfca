/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One domain's XML, which may come from anywhere: nothing outside the text is loaded for it. */
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "base/text.h"
#include "probe/probe.h"

DEFINE_CLEANUP(xmlDocPtr, xmlFreeDoc)

static xmlNodePtr child(xmlNodePtr parent, const char *name) {
        for (xmlNodePtr n = parent ? parent->children : NULL; n; n = n->next)
                if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
                        return n;
        return NULL;
}

static char *property(xmlNodePtr n, const char *name) {
        xmlChar *value = n ? xmlGetProp(n, BAD_CAST name) : NULL;
        char *copy = value ? strdup((char *) value) : NULL;

        xmlFree(value);
        return copy;
}

static bool property_is(xmlNodePtr n, const char *name, const char *expected) {
        _cleanup_free_ char *value = property(n, name);

        return str_equal(value, expected);
}

static int text_of(xmlNodePtr n, char **ret) {
        xmlChar *text = n ? xmlNodeGetContent(n) : NULL;

        *ret = text && *text ? strdup((char *) text) : NULL;
        xmlFree(text);
        return *ret ? 0 : -EINVAL;
}

/* "0x03", as libvirt writes it; absent means 0. */
static int part(xmlNodePtr n, const char *name, unsigned long limit, unsigned long *ret) {
        _cleanup_free_ char *value = property(n, name);
        char *end;

        *ret = 0;
        if (!value)
                return 0;
        errno = 0;
        *ret = strtoul(value, &end, 0);
        return errno || *end || end == value || *ret > limit ? -EINVAL : 0;
}

static int read_address(xmlNodePtr n, PciAddress *ret) {
        unsigned long domain, bus, slot, function;

        if (!n || part(n, "domain", UINT32_MAX, &domain) < 0 || part(n, "bus", 255, &bus) < 0 || part(n, "slot", 31, &slot) < 0 ||
            part(n, "function", 7, &function) < 0)
                return -EINVAL;
        *ret = (PciAddress){ (uint32_t) domain, (uint8_t) bus, (uint8_t) slot, (uint8_t) function };
        return 0;
}

/* The same device may be in the configuration and in the live definition. */
static int add_device(Guest *g, const PciAddress *a, char *alias, bool managed, bool live) {
        for (size_t i = 0; i < g->n_devices; i++)
                if (pci_address_equal(&g->devices[i].address, a)) {
                        g->devices[i].in_live |= live;
                        g->devices[i].in_config |= !live;
                        g->devices[i].managed |= managed;
                        if (!g->devices[i].alias || !live) {
                                free(g->devices[i].alias);
                                g->devices[i].alias = alias;
                        } else
                                free(alias);
                        return 0;
                }
        GuestDevice *more = reallocarray(g->devices, g->n_devices + 1, sizeof *more);
        if (!more) {
                free(alias);
                return -ENOMEM;
        }
        g->devices = more;
        more[g->n_devices++] = (GuestDevice){ .address = *a, .alias = alias, .managed = managed, .in_live = live, .in_config = !live };
        return 0;
}

static int read_hostdev(xmlNodePtr n, bool live, Guest *g) {
        PciAddress a;

        if (!property_is(n, "type", "pci"))
                return 0;
        if (read_address(child(child(n, "source"), "address"), &a) < 0)
                return -EINVAL;
        return add_device(g, &a, property(child(n, "alias"), "name"), property_is(n, "managed", "yes"), live);
}

static int add_source(Guest *g, char *source) {
        for (size_t i = 0; i < g->n_disk_sources; i++)
                if (str_equal(g->disk_sources[i], source)) {
                        free(source);
                        return 0;
                }
        char **more = reallocarray(g->disk_sources, g->n_disk_sources + 1, sizeof *more);
        if (!more) {
                free(source);
                return -ENOMEM;
        }
        g->disk_sources = more;
        more[g->n_disk_sources++] = source;
        return 0;
}

static int read_disk(xmlNodePtr n, bool live, Guest *g) {
        xmlNodePtr source = child(n, "source");
        PciAddress a;

        /* QEMU's own NVMe driver takes the whole controller, as a host device would. */
        if (property_is(n, "type", "nvme"))
                return read_address(child(source, "address"), &a) < 0
                               ? -EINVAL
                               : add_device(g, &a, NULL, property_is(source, "managed", "yes"), live);
        char *path = property(source, "dev");

        if (!path)
                path = property(source, "file");
        return path ? add_source(g, path) : 0;
}

static int read_devices(xmlNodePtr devices, bool live, Guest *g) {
        int r = 0;

        for (xmlNodePtr n = devices ? devices->children : NULL; n && r >= 0; n = n->next) {
                if (n->type != XML_ELEMENT_NODE)
                        continue;
                if (xmlStrEqual(n->name, BAD_CAST "hostdev"))
                        r = read_hostdev(n, live, g);
                else if (xmlStrEqual(n->name, BAD_CAST "disk"))
                        r = read_disk(n, live, g);
        }
        return r;
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
        g->memory_nodes = property(child(numatune, "memory"), "nodeset");
        text_clean(g->memory_nodes);
}

int guest_from_xml(const char *xml, bool live, Guest *g, Error **e) {
        size_t size = strlen(xml);
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = NULL;

        if (size < INT32_MAX)
                doc = xmlReadMemory(xml, (int) size, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
        if (!root || !xmlStrEqual(root->name, BAD_CAST "domain") || doc->intSubset)
                return error_set(e, EINVAL, "a guest's definition is no domain XML");
        if (!g->name && text_of(child(root, "name"), &g->name) < 0)
                return error_set(e, EINVAL, "a guest's definition has no name");
        if (!g->uuid)
                (void) text_of(child(root, "uuid"), &g->uuid);
        if (read_owner(child(root, "metadata"), g) < 0)
                return error_oom(e);
        read_memory_nodes(child(root, "numatune"), live, g);
        int r = read_devices(child(root, "devices"), live, g);
        if (r < 0)
                return error_set(e, -r, "the definition of guest %s cannot be understood: a host device without a usable address",
                                 g->name);
        return 0;
}
