/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain's XML says of its memory, balloon, network cards, PCI ports and system. */
#include <errno.h>

#include "probe/guest-parse.h"

#define BUSES 256

/* -- memory ------------------------------------------------------------------------------------------------------------ */

/* libvirt accepts these units and writes KiB, which is also meant without one. */
static uint64_t unit_bytes(xmlNodePtr n) {
        static const struct {
                const char *name;
                uint64_t bytes;
        } units[] = {
                { "b", 1 }, { "bytes", 1 }, { "KB", 1000 }, { "k", 1 << 10 }, { "KiB", 1 << 10 }, { "MB", 1000000 },
                { "M", 1 << 20 }, { "MiB", 1 << 20 }, { "GB", 1000000000 }, { "G", 1 << 30 }, { "GiB", 1 << 30 },
                { "TB", 1000000000000 }, { "T", UINT64_C(1) << 40 }, { "TiB", UINT64_C(1) << 40 },
        };
        _cleanup_free_ char *unit = xml_property(n, "unit");

        for (size_t i = 0; unit && i < ELEMENTSOF(units); i++)
                if (str_equal(unit, units[i].name))
                        return units[i].bytes;
        return unit ? 0 : 1 << 10;
}

/* 0 when it is not there or no amount. */
static uint64_t amount(xmlNodePtr n) {
        _cleanup_free_ char *text = xml_text(n);
        uint64_t bytes;
        char *end;

        if (!text)
                return 0;
        errno = 0;
        unsigned long long number = strtoull(text, &end, 10);
        return errno || end == text || __builtin_mul_overflow(number, unit_bytes(n), &bytes) ? 0 : bytes;
}

/* The running guest has what it was started with, the next one what the definition says: the larger one counts. */
static void read_memory(xmlNodePtr domain, Guest *g) {
        uint64_t memory = amount(xml_child(domain, "memory")), current = amount(xml_child(domain, "currentMemory"));

        if (memory > g->memory) {
                g->memory = memory;
                g->current_memory = current ? current : memory;
        }
        g->huge_pages |= xml_child(xml_child(domain, "memoryBacking"), "hugepages") != NULL;
}

/* -- devices ----------------------------------------------------------------------------------------------------------- */

/* libvirt adds a balloon to every guest whose definition does not say `none`. */
static void read_balloon(xmlNodePtr devices, Guest *g) {
        xmlNodePtr balloon = xml_child(devices, "memballoon");
        bool none = !balloon || xml_property_is(balloon, "model", "none");

        g->balloon = g->balloon == TRI_YES || !none ? TRI_YES : TRI_NO;
}

static int read_network(xmlNodePtr n, Guest *g) {
        char *model = xml_property(xml_child(n, "model"), "type");

        if (xml_property_is(n, "type", "hostdev")) {
                free(model);
                return 0;
        }
        g->n_networks++;
        if (g->emulated_network || (model && strncmp(model, "virtio", 6) == 0)) {
                free(model);
                return 0;
        }
        g->emulated_network = model ? model : strdup("default");
        return g->emulated_network ? 0 : -ENOMEM;
}

static int read_networks(xmlNodePtr devices, Guest *g) {
        int r = 0;

        for (xmlNodePtr n = devices ? devices->children : NULL; n && r >= 0; n = n->next)
                if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST "interface"))
                        r = read_network(n, g);
        return r;
}

/* -- ports ------------------------------------------------------------------------------------------------------------- */

typedef struct Buses {
        uint32_t used[BUSES]; /* slots with a device, a bit each */
} Buses;

static void read_used(xmlNodePtr devices, Buses *b) {
        for (xmlNodePtr n = devices->children; n; n = n->next) {
                xmlNodePtr address = n->type == XML_ELEMENT_NODE ? xml_child(n, "address") : NULL;
                PciAddress a;
                if (address && xml_property_is(address, "type", "pci") && guest_read_pci_address(address, &a) >= 0 &&
                    a.domain == 0)
                        b->used[a.bus] |= UINT32_C(1) << a.device;
        }
}

/* Of the buses that libvirt plugs devices into while the guest runs (docs/pci-hotplug.rst): a port of PCI Express takes one, in
 * slot 0; a conventional bus has 32 slots, the first of which is never given out, and on i440fx the second is the chipset's. */
static void count_free(xmlNodePtr controller, const Buses *b, GuestPorts *p) {
        _cleanup_free_ char *model = xml_property(controller, "model");
        unsigned long index;

        if (!model || xml_number(controller, "index", BUSES - 1, &index) < 0 ||
            xml_property_is(xml_child(controller, "target"), "hotplug", "off"))
                return;
        uint32_t used = b->used[index] | 1;
        if (str_equal(model, "pcie-root"))
                p->express = true;
        else if (str_equal(model, "pcie-root-port") || str_equal(model, "pcie-switch-downstream-port"))
                p->free_ports += b->used[index] == 0;
        else if (str_equal(model, "pci-root"))
                p->free_slots += 32 - (unsigned) __builtin_popcount(used | 2);
        else if (str_equal(model, "pci-bridge") || str_equal(model, "pcie-to-pci-bridge"))
                p->free_slots += 32 - (unsigned) __builtin_popcount(used);
}

static void read_ports(xmlNodePtr devices, Guest *g) {
        Buses b = {};

        if (!devices)
                return;
        g->ports = (GuestPorts){};
        read_used(devices, &b);
        for (xmlNodePtr n = devices->children; n; n = n->next)
                if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST "controller") && xml_property_is(n, "type", "pci")) {
                        g->ports.known = true;
                        count_free(n, &b, &g->ports);
                }
}

/* -- the system -------------------------------------------------------------------------------------------------------- */

/* <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><libosinfo:os id="..."/>, as
 * virt-install, virt-manager, GNOME Boxes and Cockpit write it. */
static void read_system(xmlNodePtr metadata, Guest *g) {
        static const char namespace[] = "http://libosinfo.org/xmlns/libvirt/domain/";

        for (xmlNodePtr n = metadata ? metadata->children : NULL; n && !g->system.id; n = n->next)
                if (n->type == XML_ELEMENT_NODE && n->ns && n->ns->href &&
                    strncmp((const char *) n->ns->href, namespace, strlen(namespace)) == 0)
                        g->system.id = xml_property(xml_child(n, "os"), "id");
}

int guest_read_resources(xmlNodePtr domain, bool live, Guest *g) {
        xmlNodePtr devices = xml_child(domain, "devices");

        if (!g->machine)
                g->machine = xml_property(xml_child(xml_child(domain, "os"), "type"), "machine");
        read_system(xml_child(domain, "metadata"), g);
        read_memory(domain, g);
        read_balloon(devices, g);
        if (live)
                read_ports(devices, g);
        /* The live definition of a persistent guest has the same ones once more. */
        return live && g->persistent ? 0 : read_networks(devices, g);
}
