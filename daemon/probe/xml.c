/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/xml.h"

#include <errno.h>
#include <libxml/parser.h>

#include "base/file.h"

xmlDocPtr xml_parse(const char *text, const char *root) {
        _cleanup_(xmlFreeDocp) xmlDocPtr doc = NULL;
        size_t size = strlen(text);

        if (size <= FILE_SIZE_LIMIT)
                doc = xmlReadMemory(text, (int) size, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlNodePtr found = doc ? xmlDocGetRootElement(doc) : NULL;
        return found && xmlStrEqual(found->name, BAD_CAST root) && !doc->intSubset ? TAKE_PTR(doc) : NULL;
}

xmlNodePtr xml_child(xmlNodePtr parent, const char *name) {
        for (xmlNodePtr n = parent ? parent->children : NULL; n; n = n->next)
                if (n->type == XML_ELEMENT_NODE && xmlStrEqual(n->name, BAD_CAST name))
                        return n;
        return NULL;
}

char *xml_property(xmlNodePtr n, const char *name) {
        xmlChar *value = n ? xmlGetProp(n, BAD_CAST name) : NULL;
        char *copy = value ? strdup((char *) value) : NULL;

        xmlFree(value);
        return copy;
}

bool xml_property_is(xmlNodePtr n, const char *name, const char *expected) {
        _cleanup_free_ char *value = xml_property(n, name);

        return str_equal(value, expected);
}

char *xml_text(xmlNodePtr n) {
        xmlChar *text = n ? xmlNodeGetContent(n) : NULL;
        char *copy = text && *text ? strdup((char *) text) : NULL;

        xmlFree(text);
        return copy;
}

char *xml_print(xmlNodePtr n) {
        xmlBufferPtr buffer = xmlBufferCreate();
        char *copy = NULL;

        if (buffer && xmlNodeDump(buffer, n->doc, n, 0, 0) >= 0)
                copy = strdup((const char *) xmlBufferContent(buffer));
        xmlBufferFree(buffer);
        return copy;
}

int xml_number(xmlNodePtr n, const char *name, unsigned long limit, unsigned long *ret) {
        _cleanup_free_ char *value = xml_property(n, name);
        char *end;

        *ret = 0;
        if (!value)
                return 0;
        errno = 0;
        *ret = strtoul(value, &end, 0);
        return errno || *end || end == value || *ret > limit ? -EINVAL : 0;
}
