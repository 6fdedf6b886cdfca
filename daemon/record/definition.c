/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a domain's definition goes into a recording (https://libvirt.org/formatdomain.html). */
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "record/record.h"

DEFINE_CLEANUP(xmlDocPtr, xmlFreeDoc)

static bool is_one_of(const xmlChar *name, const char *const *names, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (xmlStrEqual(name, BAD_CAST names[i]))
                        return true;
        return false;
}

static void remove_node(xmlNodePtr n) {
        xmlUnlinkNode(n);
        xmlFreeNode(n);
}

static void remove_attributes(xmlNodePtr n) {
        static const char *const names[] = { "passwd", "passwdValidTo", "password", "username", "secret", "keyid", "host", "listen",
                                             "query" };

        for (xmlAttrPtr a = n->properties, next; a; a = next) {
                next = a->next;
                if (is_one_of(a->name, names, ELEMENTSOF(names)))
                        (void) xmlRemoveProp(a);
        }
}

/* A serial console has the same name, and attributes. */
static void learn(xmlNodePtr n, Aliases *a) {
        bool serial = xmlStrEqual(n->name, BAD_CAST "serial") && !n->properties;
        xmlChar *text = serial || xmlStrEqual(n->name, BAD_CAST "wwn") ? xmlNodeGetContent(n) : NULL;

        if (text)
                (void) aliases_add(a, serial ? ALIAS_SERIAL : ALIAS_WWN, (char *) text);
        xmlFree(text);
}

/* Devices keep what places them; `depth` because libxml2 limits the depth of what it reads, and this function its own. */
static void clean_devices(xmlNodePtr parent, Aliases *a, unsigned depth) {
        static const char *const names[] = { "auth", "secret", "encryption", "cookies", "cookie", "host", "hosts", "listen", "seclabel",
                                             "backend", "ip", "route", "log", "privateData", "reservations", "identity", "knownHosts" };

        for (xmlNodePtr n = parent->children, next; n; n = next) {
                next = n->next;
                bool element = n->type == XML_ELEMENT_NODE;
                if ((!element && n->type != XML_TEXT_NODE) || (element && is_one_of(n->name, names, ELEMENTSOF(names))) || depth > 64)
                        remove_node(n);
                else if (element) {
                        learn(n, a);
                        remove_attributes(n);
                        clean_devices(n, a, depth + 1);
                }
        }
}

/* The namespaces tell which tool owns the domain, and libosinfo's id which system is in it. */
static void clean_metadata(xmlNodePtr metadata) {
        for (xmlNodePtr n = metadata->children; n; n = n->next) {
                bool os = n->ns && n->ns->href && xmlStrEqual(n->ns->href, BAD_CAST "http://libosinfo.org/xmlns/libvirt/domain/1.0");
                for (xmlNodePtr inner = n->children, next; inner && n->type == XML_ELEMENT_NODE; inner = next) {
                        next = inner->next;
                        if (!os || inner->type != XML_ELEMENT_NODE || !xmlStrEqual(inner->name, BAD_CAST "os"))
                                remove_node(inner);
                }
        }
}

static void clean_domain(xmlNodePtr domain, Aliases *a) {
        static const char *const kept[] = { "name", "uuid", "metadata", "memory", "currentMemory", "maxMemory", "memoryBacking", "memtune",
                                            "vcpu", "numatune", "os", "features", "cpu", "devices", "on_poweroff", "on_reboot" };

        for (xmlNodePtr n = domain->children, next; n; n = next) {
                next = n->next;
                if (n->type != XML_ELEMENT_NODE || !is_one_of(n->name, kept, ELEMENTSOF(kept))) {
                        if (n->type != XML_TEXT_NODE)
                                remove_node(n);
                } else if (xmlStrEqual(n->name, BAD_CAST "metadata"))
                        clean_metadata(n);
                else if (xmlStrEqual(n->name, BAD_CAST "os") || xmlStrEqual(n->name, BAD_CAST "devices"))
                        clean_devices(n, a, 0);
        }
}

/* The command line of a kernel that the guest boots directly. */
static void remove_command_line(xmlNodePtr domain) {
        for (xmlNodePtr os = domain->children; os; os = os->next)
                for (xmlNodePtr n = os->children, next; n && xmlStrEqual(os->name, BAD_CAST "os"); n = next) {
                        next = n->next;
                        if (xmlStrEqual(n->name, BAD_CAST "cmdline"))
                                remove_node(n);
                }
}

static xmlDocPtr read_document(const char *xml, const char *element) {
        size_t length = strlen(xml);
        xmlDocPtr doc = NULL;

        if (length < INT32_MAX)
                doc = xmlReadMemory(xml, (int) length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
        if (root && !doc->intSubset && xmlStrEqual(root->name, BAD_CAST element))
                return doc;
        xmlFreeDoc(doc);
        return NULL;
}

static char *write_document(xmlDocPtr doc) {
        xmlChar *text = NULL;
        int size = 0;

        xmlDocDumpMemory(doc, &text, &size);
        char *copy = text ? strndup((char *) text, (size_t) size) : NULL;
        xmlFree(text);
        return copy;
}

char *definition_redact(const char *xml, Aliases *a) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = read_document(xml, "domain");

        if (!doc)
                return NULL;
        clean_domain(xmlDocGetRootElement(doc), a);
        remove_command_line(xmlDocGetRootElement(doc));
        return write_document(doc);
}

char *pool_redact(const char *xml, Aliases *a) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = read_document(xml, "pool");

        if (!doc)
                return NULL;
        clean_devices(xmlDocGetRootElement(doc), a, 0);
        return write_document(doc);
}
