/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>

#include "service/bus.h"

static char *bus_error_name(const char *name) {
        static const char prefix[] = BUS_NAME ".Error.";
        char *full = calloc(1, sizeof prefix + (name ? strlen(name) : 0) + sizeof "Failed");

        if (!full)
                return NULL;
        char *end = stpcpy(full, prefix);
        bool upper = true;
        for (const char *c = name; c && *c; c++) {
                if (isalnum((unsigned char) *c))
                        *end++ = upper ? (char) toupper((unsigned char) *c) : *c;
                upper = *c == '-';
        }
        if (end == full + sizeof prefix - 1)
                strcpy(end, "Failed");
        return full;
}

int bus_error_set(sd_bus_error *ret, const Error *e) {
        _cleanup_free_ char *name = bus_error_name(e ? e->name : NULL);
        const char *message = e && e->message ? e->message : "it failed";

        if (!name)
                return sd_bus_error_set_errno(ret, ENOMEM);
        if (e && e->remedy)
                return sd_bus_error_setf(ret, name, "%s\n%s", message, e->remedy);
        return sd_bus_error_set(ret, name, message);
}
