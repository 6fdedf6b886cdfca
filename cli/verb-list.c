/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus.h"
#include "local.h"
#include "model/controller.h"
#include "output.h"

static char *disks_text(const json_t *disks) {
        _cleanup_free_ char *text = NULL;
        size_t size, i;
        json_t *d;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        json_array_foreach(disks, i, d) {
                _cleanup_free_ char *bytes = output_size(json_integer_value(json_object_get(d, "size")));
                (void) fprintf(f, "%s%s %s%s", i ? ", " : "", output_text(d, "name"), bytes ? bytes : "",
                               json_array_size(json_object_get(d, "users")) ? " in use" : "");
        }
        return fclose(f) == 0 && *text ? TAKE_PTR(text) : NULL;
}

/* Said only where it matters: a guest's state is shown. */
static void print_guests_problem(const json_t *list) {
        size_t i;
        json_t *c;

        json_array_foreach(list, i, c)
                if (json_is_string(json_object_get(c, "guest")) && json_is_string(json_object_get(c, "guests_problem"))) {
                        printf("Note: the guests are not known: %s\n", output_text(c, "guests_problem"));
                        return;
                }
}

static void print_list(const json_t *list) {
        static const char *const columns[] = { "ADDRESS", "KIND", "MODEL", "DRIVER", "GROUP", "ISOLATED", "DISKS", "STATE", "GUEST" };
        struct libscols_table *t = output_table(columns, ELEMENTSOF(columns));
        size_t i;
        json_t *c;

        json_array_foreach(list, i, c) {
                const json_t *group = json_object_get(c, "iommu_group"), *isolated = json_object_get(c, "isolated");
                _cleanup_free_ char *disks = disks_text(json_object_get(c, "disks"));
                char number[24] = "-";
                if (json_is_integer(group))
                        (void) snprintf(number, sizeof number, "%lld", (long long) json_integer_value(group));
                const char *cells[] = {
                        output_text(c, "address"), output_text(c, "kind"), output_text(c, "model"), output_text(c, "driver"), number,
                        json_is_null(isolated) ? "-" : json_is_true(isolated) ? "yes" : "no", disks, output_text(c, "state"),
                        output_text(c, "guest"),
                };
                (void) output_row(t, cells, ELEMENTSOF(cells));
        }
        output_table_print(t);
        print_guests_problem(list);
}

int verb_list(const Arguments *a, Error **e) {
        _cleanup_(host_freep) Host *h = NULL;
        _cleanup_json_ json_t *list = NULL;
        int r;

        if (a->sysroot) {
                r = local_host(a->sysroot, &h, e);
                if (r >= 0 && !(list = host_list_to_json(h)))
                        r = error_oom(e);
        } else
                r = bus_simple(a, "List", NULL, &list, e);
        if (r < 0)
                return r;
        if (a->json)
                output_json(list);
        else if (json_array_size(list) == 0)
                printf("no storage controller\n");
        else
                print_list(list);
        return EXIT_DONE;
}
