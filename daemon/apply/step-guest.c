/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach and detach in a guest's persistent definition, plug and unplug in the running guest. Only single devices are
 * added and removed: redefining a domain from its dumped XML would lose what the dump leaves out (secrets) and what
 * somebody else changes meanwhile.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <poll.h>

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
        /* Only libvirt's own word that there is none means that there is nothing to undo. */
        if (!d->domain && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
                return error_set_full(e, ENOENT, "no-such-guest", "virsh list --all names the guests.",
                                      "guest %s cannot be found: %s", guest, virGetLastErrorMessage());
        if (!d->domain)
                return error_set_full(e, EIO, "no-libvirt", "See `systemctl status libvirtd`.",
                                      "libvirt does not tell about guest %s: %s", guest, virGetLastErrorMessage());
        return 0;
}

/* Which of the two definitions of a domain a step is about. */
typedef struct Side {
        bool live;
        unsigned affect;   /* virDomainDeviceModifyFlags */
        unsigned xml;      /* virDomainXMLFlags */
        const char *name;  /* for messages, before the guest's name */
} Side;

static const Side config = { false, VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_XML_INACTIVE, "the definition of guest" };
static const Side running = { true, VIR_DOMAIN_AFFECT_LIVE, 0, "the running guest" };

static int domain_xml(const Domain *d, const Side *side, const char *guest, char **ret, Error **e) {
        if (side->live && virDomainIsActive(d->domain) != 1)
                return error_set_full(e, ESRCH, "guest-stopped", "Try again now that it is shut off.",
                                      "guest %s does not run any more", guest);
        *ret = virDomainGetXMLDesc(d->domain, side->xml);
        if (!*ret)
                return error_set(e, EIO, "%s %s cannot be read: %s", side->name, guest, virGetLastErrorMessage());
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

static int device_presence(const char *xml, const Side *side, const PciAddress *a, const char *alias, Presence *ret,
                           Error **e) {
        Guest g = {};

        int r = guest_from_xml(xml, side->live, &g, e);
        *ret = DEVICE_ABSENT;
        for (size_t i = 0; r >= 0 && i < g.n_devices; i++)
                if (pci_address_equal(&g.devices[i].address, a))
                        *ret = str_equal(g.devices[i].alias, alias) ? DEVICE_OURS : DEVICE_FOREIGN;
        guest_clear(&g);
        return r;
}

static int domain_presence(const Domain *d, const Side *side, const Step *s, const char *alias, char **ret_xml,
                           Presence *ret, Error **e) {
        int r = domain_xml(d, side, s->subject, ret_xml, e);

        return r < 0 ? r : device_presence(*ret_xml, side, &s->address, alias, ret, e);
}

static int device_foreign(const Side *side, const Step *s, Error **e) {
        return error_set_full(e, EEXIST, STEP_ERROR_FOREIGN,
                              side->live ? "Take it out with virsh detach-device." : "Remove it with virsh detach-device --config.",
                              "%s %s holds %s, but not from passthru", side->name, s->subject,
                              PCI_ADDRESS_STR(&s->address));
}

/* -- attach and plug -------------------------------------------------------------------------------------------------------- */

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

static int verify_presence(const Domain *d, const Side *side, const Step *s, const char *alias, Presence expected,
                           Error **e) {
        _cleanup_free_ char *xml = NULL;
        Presence found;

        int r = domain_presence(d, side, s, alias, &xml, &found, e);
        if (r < 0)
                return r;
        if (found != expected)
                return error_set(e, EIO, "libvirt reported success, but %s %s %s %s", side->name, s->subject,
                                 found == DEVICE_ABSENT ? "lacks" : "still holds", PCI_ADDRESS_STR(&s->address));
        return 0;
}

static int add_device(StepContext *c, const Side *side, const Step *s, Error **e) {
        _cleanup_free_ char *alias = device_alias(&s->address), *xml = NULL;
        _cleanup_free_ char *device = alias ? device_xml(&s->address, alias) : NULL;
        _cleanup_(domain_close) Domain d = {};
        Presence found;

        if (!device)
                return error_oom(e);
        int r = domain_open(c, s->subject, &d, e);
        if (r < 0 || (r = domain_presence(&d, side, s, alias, &xml, &found, e)) < 0)
                return r;
        if (found == DEVICE_OURS)
                return 0;
        if (found == DEVICE_FOREIGN)
                return device_foreign(side, s, e);
        if (virDomainAttachDeviceFlags(d.domain, device, side->affect) < 0)
                return error_set(e, EIO, "%s cannot be added to %s %s: %s", PCI_ADDRESS_STR(&s->address), side->name,
                                 s->subject, virGetLastErrorMessage());
        return verify_presence(&d, side, s, alias, DEVICE_OURS, e);
}

int step_attach(StepContext *c, const Step *s, Error **e) {
        return add_device(c, &config, s, e);
}

int step_plug(StepContext *c, const Step *s, Error **e) {
        return add_device(c, &running, s, e);
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

/* Opens the domain and finds our device in it. *ret_device is NULL when it is not there. */
static int find_device(StepContext *c, const Side *side, const Step *s, Domain *d, char **ret_device, Error **e) {
        _cleanup_free_ char *alias = device_alias(&s->address), *xml = NULL;
        Presence found;

        if (!alias)
                return error_oom(e);
        int r = domain_open(c, s->subject, d, e);
        if (r < 0 || (r = domain_presence(d, side, s, alias, &xml, &found, e)) < 0)
                return r;
        if (found == DEVICE_FOREIGN)
                return device_foreign(side, s, e);
        return found == DEVICE_OURS ? device_element(xml, alias, ret_device, e) : 0;
}

int step_detach(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *device = NULL;
        _cleanup_(domain_close) Domain d = {};

        int r = find_device(c, &config, s, &d, &device, e);
        if (r < 0 || !device)
                return r;
        if (virDomainDetachDeviceFlags(d.domain, device, config.affect) < 0)
                return error_set(e, EIO, "%s cannot be detached from guest %s: %s", PCI_ADDRESS_STR(&s->address),
                                 s->subject, virGetLastErrorMessage());
        _cleanup_free_ char *alias = device_alias(&s->address);
        return alias ? verify_presence(&d, &config, s, alias, DEVICE_ABSENT, e) : error_oom(e);
}

/* -- unplug -------------------------------------------------------------------------------------------------------- */

/* The guest decides. A request made while it boots is lost, and one made during another is refused (the power indicator
 * blinks for five seconds, PCI Express Base Specification 5.0, section 6.7.1.5), so it is repeated. */
#define UNPLUG_DEADLINE_MS 60000
#define UNPLUG_AGAIN_MS 8000
#define UNPLUG_LOOK_MS 500

/* 1 when the device has left the guest, or the guest has ended. */
static int is_unplugged(const Domain *d, const Step *s, const char *alias, Error **e) {
        _cleanup_free_ char *xml = NULL;
        Presence found;

        if (virDomainIsActive(d->domain) == 0)
                return 1;
        int r = domain_presence(d, &running, s, alias, &xml, &found, e);
        return r < 0 ? r : found == DEVICE_ABSENT;
}

/* The agent's word from before the plan is old by the time of a repeated request: the guest may have mounted something since. */
static int unplug_still_unused(const StepContext *c, const Step *s, Error **e) {
        _cleanup_(assigned_clear) Assigned record = {};
        _cleanup_(host_freep) Host *h = NULL;

        if (c->plan->forced || !step_is_live(c))
                return 0;
        if (!step_record(c, &s->address, &record))
                return error_set(e, EIO, "the record of %s cannot be read", PCI_ADDRESS_STR(&s->address));
        int r = probe_host_about(c->root, PROBE_LIVE | PROBE_GUESTS | PROBE_AGENTS, &s->address, 1, &h, e);
        if (r < 0)
                return r;
        if (!h->guests_known)
                return error_set_full(e, ECONNREFUSED, "no-libvirt", "See `systemctl status libvirtd`.",
                                      "whether guest %s still uses the disks is not known: %s", s->subject,
                                      h->guests_problem ? h->guests_problem : "libvirt does not answer");
        const Guest *g = host_find_guest(h, s->subject); /* NULL: it is gone, with the device */
        return g ? plan_check_unused(g, &record, e) : 0;
}

static int unplug_wait(StepContext *c, const Domain *d, const Step *s, const char *alias, const char *device, Error **e) {
        long begin = monotonic_ms(), asked = begin - UNPLUG_AGAIN_MS;
        _cleanup_free_ char *answer = NULL;

        for (;;) {
                long now = monotonic_ms();
                int r = is_unplugged(d, s, alias, e);
                if (r != 0)
                        return r < 0 ? r : 0;
                if (now - begin >= UNPLUG_DEADLINE_MS)
                        break;
                if (step_is_cancelled(c))
                        return error_set_full(e, ECANCELED, "cancelled", "The guest may still give it back later; release it again "
                                              "then.", "cancelled while guest %s was asked for %s", s->subject,
                                              PCI_ADDRESS_STR(&s->address));
                if (now - asked >= UNPLUG_AGAIN_MS) {
                        if (asked >= begin && (r = unplug_still_unused(c, s, e)) < 0)
                                return r;
                        asked = now;
                        if (virDomainDetachDeviceFlags(d->domain, device, running.affect) < 0) {
                                free(answer);
                                answer = strdup(virGetLastErrorMessage());
                        }
                }
                (void) poll(NULL, 0, UNPLUG_LOOK_MS);
        }
        return error_set_full(e, ETIMEDOUT, "unplug-ignored", "See in the guest what keeps it (is it paused or still booting, does its "
                              "kernel have PCI hot-plug?), or shut the guest down and release it then.",
                              "guest %s did not give %s back within %d seconds; it still has it and goes on%s%s", s->subject,
                              PCI_ADDRESS_STR(&s->address), UNPLUG_DEADLINE_MS / 1000, answer ? "; libvirt said: " : "",
                              answer ? answer : "");
}

int step_unplug(StepContext *c, const Step *s, Error **e) {
        _cleanup_free_ char *alias = device_alias(&s->address), *device = NULL;
        _cleanup_(domain_close) Domain d = {};

        if (!alias)
                return error_oom(e);
        int r = find_device(c, &running, s, &d, &device, e);
        if (r < 0 || !device)
                return r;
        return unplug_wait(c, &d, s, alias, device, e);
}
