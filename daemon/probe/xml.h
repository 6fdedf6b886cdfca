/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <libxml/tree.h>

#include "base/macros.h"

/* libvirt's XML, which may come from anywhere; inside probe/ only. */

DEFINE_CLEANUP(xmlDocPtr, xmlFreeDoc)

/* NULL when the text is no such document. Nothing outside of it is loaded, no entities are known, and libxml2's own limits on
 * depth and lengths hold. */
xmlDocPtr xml_parse(const char *text, const char *root);

/* The first element with that name below the parent; NULL when there is none or the parent is NULL. */
xmlNodePtr xml_child(xmlNodePtr parent, const char *name);
/* Newly allocated; NULL when it has none. */
char *xml_property(xmlNodePtr n, const char *name);
bool xml_property_is(xmlNodePtr n, const char *name, const char *expected);
/* Newly allocated; NULL when there is none or it is empty. */
char *xml_text(xmlNodePtr n);
/* The element as a document of its own; newly allocated, NULL when that is impossible. */
char *xml_print(xmlNodePtr n);
/* "0x03" or "3", as libvirt writes numbers; absent means 0. -EINVAL when it is none or above the limit. */
int xml_number(xmlNodePtr n, const char *name, unsigned long limit, unsigned long *ret);
