/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach and detach in the persistent definition of a shut-off guest. Only single devices are added and removed:
 * redefining a domain from its dumped XML would lose what the dump leaves out (secrets) and what somebody else changes
 * meanwhile.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "apply/step.h"
#include "probe/probe.h"

DEFINE_CLEANUP(xmlDocPtr, xmlFreeDoc)
DEFINE_CLEANUP(xmlBufferPtr, xmlBufferFree)

typedef struct Domain {
        virConnectPtr connection;
        virDomainPtr domain;
} Domain;

static void domain_close(Domain *d) {
        if (d->domain)
                (void) virDomainFree(d->domain);
        if (d->connection)
                (void) virConnectClose(d->connection);
}

/* libvirt prints each error on stderr unless told otherwise. */
static void silent(void *userdata, virErrorPtr error) {
        (void) userdata;
        (void) error;
}

/* The connection has no keepalive: that needs a running event loop. Whoever started this process gives it a deadline.
 * */
static int domain_open(const StepContext *c, const char *guest, Domain *d, Error **e) {
        virSetErrorFunc(NULL, silent);
        d->connection = virConnectOpen(c->libvirt_uri);
        if (!d->connection)
                return error_set_full(e, ECONNREFUSED, "no-libvirt",
                                      "Start it: systemctl start libvirtd (or virtqemud.socket).",
                                      "libvirt cannot be reached at %s: %s", c->libvirt_uri, virGetLastErrorMessage());
        d->domain = virDomainLookupByName(d->connection, guest);
        if (!d->domain)
                return error_set_full(e, ENOENT, "no-such-guest", "virsh list --all names the guests.",
                                      "guest %s cannot be found: %s", guest, virGetLastErrorMessage());
        int active = virDomainIsActive(d->domain);
        if (active < 0)
                return error_set(e, EIO, "the state of guest %s cannot be read: %s", guest, virGetLastErrorMessage());
        if (active > 0)
                return error_set_full(e, EBUSY, "guest-running", "Shut it down first.", "guest %s is running", guest);
        return 0;
}

static int domain_xml(const Domain *d, const char *guest, char **ret, Error **e) {
        *ret = virDomainGetXMLDesc(d->domain, VIR_DOMAIN_XML_INACTIVE);
        if (!*ret)
                return error_set(e, EIO, "the definition of guest %s cannot be read: %s", guest,
                                 virGetLastErrorMessage());
        return 0;
}

/* Whether the definition holds the controller, and under our alias. */
typedef enum Presence { DEVICE_ABSENT, DEVICE_OURS, DEVICE_FOREIGN } Presence;

static char *device_alias(const PciAddress *a) {
        char *alias;

        if (asprintf(&alias, "ua-passthru-%04x-%02x-%02x-%x", a->domain, a->bus, a->device, a->function) < 0)
                return NULL;
        return alias;
}

static int device_presence(const char *xml, const PciAddress *a, const char *alias, Presence *ret, Error **e) {
        Guest g = {};

        int r = guest_from_xml(xml, /* live= */ false, &g, e);
        *ret = DEVICE_ABSENT;
        for (size_t i = 0; r >= 0 && i < g.n_devices; i++)
                if (pci_address_equal(&g.devices[i].address, a))
                        *ret = str_equal(g.devices[i].alias, alias) ? DEVICE_OURS : DEVICE_FOREIGN;
        guest_clear(&g);
        return r;
}

static int domain_presence(const Domain *d, const Step *s, const char *alias, char **ret_xml, Presence *ret,
                           Error **e) {
        int r = domain_xml(d, s->subject, ret_xml, e);

        return r < 0 ? r : device_presence(*ret_xml, &s->address, alias, ret, e);
}

static int device_foreign(const Step *s, Error **e) {
        return error_set_full(e, EEXIST, STEP_ERROR_FOREIGN, "Remove it with virsh detach-device --config.",
                              "the definition of guest %s holds %s, but not from passthru", s->subject,
                              PCI_ADDRESS_STR(&s->address));
}

/* -- attach -------------------------------------------------------------------------------------------------------- */

static char *device_xml(const PciAddress *a, const char *alias) {
        char *xml;
        int r = asprintf(&xml,
                         "<hostdev mode='subsystem' type='pci' managed='no'>"
                         "<driver name='vfio'/>"
                         "<source><address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/></source>"
                         "<alias name='%s'/>"
                         "<rom bar='off'/>"
                         "</hostdev>",
                         a->domain, a->bus, a->device, a->function, alias);

        return r < 0 ? NULL : xml;
}

static int verify_presence(const Domain *d, const Step *s, const char *alias, Presence expected, Error **e) {
        _cleanup_free_ char *xml = NULL;
        Presence found;

        int r = domain_presence(d, s, alias, &xml, &found, e);
        if (r < 0)
                return r;
        if (found != expected)
                return error_set(e, EIO, "libvirt reported success, but the definition of guest %s %s %s", s->subject,
                                 found == DEVICE_ABSENT ? "lacks" : "still holds", PCI_ADDRESS_STR(&s->address));
        return 0;
}

int step_attach(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *alias = device_alias(&s->address), *xml = NULL;
        _cleanup_free_ char *device = alias ? device_xml(&s->address, alias) : NULL;
        _cleanup_(domain_close) Domain d = {};
        Presence found;

        if (!device)
                return error_oom(e);
        int r = domain_open(c, s->subject, &d, e);
        if (r < 0 || (r = domain_presence(&d, s, alias, &xml, &found, e)) < 0)
                return r;
        if (found == DEVICE_OURS)
                return 0;
        if (found == DEVICE_FOREIGN)
                return device_foreign(s, e);
        if (virDomainAttachDeviceFlags(d.domain, device, VIR_DOMAIN_AFFECT_CONFIG) < 0)
                return error_set(e, EIO, "%s cannot be attached to guest %s: %s", PCI_ADDRESS_STR(&s->address),
                                 s->subject,
                                 virGetLastErrorMessage());
        return verify_presence(&d, s, alias, DEVICE_OURS, e);
}

/* -- detach -------------------------------------------------------------------------------------------------------- */

static xmlNodePtr child_named(xmlNodePtr parent, const char *name) {
        for (xmlNodePtr n = parent ? parent->children : NULL; n; n = n->next)
                if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
                        return n;
        return NULL;
}

static bool device_has_alias(xmlNodePtr device, const char *alias) {
        xmlNodePtr n = child_named(device, "alias");
        xmlChar *name = n ? xmlGetProp(n, BAD_CAST "name") : NULL;
        bool equal = name && xmlStrEqual(name, BAD_CAST alias);

        xmlFree(name);
        return equal;
}

/* The element of the device as libvirt wrote it, found by its alias. */
static int device_element(const char *xml, const char *alias, char **ret, Error **e) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = xmlReadMemory(xml, (int) strlen(xml), NULL, NULL,
                                                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlNodePtr devices = doc ? child_named(xmlDocGetRootElement(doc), "devices") : NULL;

        for (xmlNodePtr n = devices ? devices->children : NULL; n; n = n->next) {
                if (n->type != XML_ELEMENT_NODE || !xmlStrEqual(n->name, BAD_CAST "hostdev") ||
                    !device_has_alias(n, alias))
                        continue;
                _cleanup_(xmlBufferFreep) xmlBufferPtr buffer = xmlBufferCreate();
                if (!buffer || xmlNodeDump(buffer, doc, n, 0, 0) < 0)
                        return error_oom(e);
                *ret = strdup((const char *) xmlBufferContent(buffer));
                return *ret ? 0 : error_oom(e);
        }
        return error_set(e, ENOENT, "the definition has no device with the alias %s", alias);
}

int step_detach(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *alias = device_alias(&s->address), *xml = NULL, *device = NULL;
        _cleanup_(domain_close) Domain d = {};
        Presence found;

        if (!alias)
                return error_oom(e);
        int r = domain_open(c, s->subject, &d, e);
        if (r < 0 || (r = domain_presence(&d, s, alias, &xml, &found, e)) < 0)
                return r;
        if (found == DEVICE_ABSENT)
                return 0;
        if (found == DEVICE_FOREIGN)
                return device_foreign(s, e);
        if ((r = device_element(xml, alias, &device, e)) < 0)
                return r;
        if (virDomainDetachDeviceFlags(d.domain, device, VIR_DOMAIN_AFFECT_CONFIG) < 0)
                return error_set(e, EIO, "%s cannot be detached from guest %s: %s", PCI_ADDRESS_STR(&s->address),
                                 s->subject,
                                 virGetLastErrorMessage());
        return verify_presence(&d, s, alias, DEVICE_ABSENT, e);
}
