/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus.h"
#include "output.h"

int verb_status(const Arguments *a, Error **e) {
        static const char *const columns[] = { "ADDRESS", "GUEST", "STATE", "HEALTHY", "MESSAGE" };
        _cleanup_json_ json_t *status = NULL;
        bool healthy = true;
        size_t i;
        json_t *s;

        int r = bus_simple(a, "Status", NULL, &status, e);
        if (r < 0)
                return r;
        struct libscols_table *t = a->json ? NULL : output_table(columns, ELEMENTSOF(columns));
        json_array_foreach(status, i, s) {
                bool ok = json_is_true(json_object_get(s, "healthy"));
                const char *cells[] = { output_text(s, "address"), output_text(s, "guest"), output_text(s, "state"), ok ? "yes" : "no",
                                        output_text(s, "message") };
                healthy &= ok;
                (void) output_row(t, cells, ELEMENTSOF(cells));
        }
        if (a->json)
                output_json(status);
        else if (json_array_size(status) == 0)
                printf("no assignment\n");
        else
                output_table_print(t);
        return healthy ? EXIT_DONE : EXIT_REFUSED;
}
