/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus.h"
#include "output.h"

static void print_functions(const char *title, const json_t *functions) {
        size_t i;
        json_t *f;

        printf("%s:\n", title);
        json_array_foreach(functions, i, f)
                printf("  %s  %s (class %s, driver %s)\n", output_text(f, "address"), output_text(f, "model"), output_text(f, "class"),
                       output_text(f, "driver"));
        if (json_array_size(functions) == 0)
                printf("  none\n");
}

static void print_disks(const json_t *disks) {
        if (json_array_size(disks) == 0)
                printf("disks:    none that the host sees\n");
        else
                output_disks(disks);
}

static void print_regions(const json_t *regions) {
        size_t i;
        json_t *r;

        json_array_foreach(regions, i, r)
                printf("reserved: %s-%s %s\n", output_text(r, "start"), output_text(r, "end"), output_text(r, "kind"));
}

static void print_show(const json_t *c) {
        const json_t *group = json_object_get(c, "iommu_group"), *isolated = json_object_get(c, "isolated");

        printf("%s  %s\n", output_text(c, "address"), output_text(c, "model"));
        printf("kind:     %s (class %s, ids %s:%s)\n", output_text(c, "kind"), output_text(c, "class"), output_text(c, "vendor"),
               output_text(c, "device"));
        printf("driver:   %s (override %s)\n", output_text(c, "driver"), output_text(c, "driver_override"));
        printf("state:    %s, guest %s\n", output_text(c, "state"), output_text(c, "guest"));
        printf("port:     %s\n", output_text(c, "port_path"));
        printf("reset:    %s\n", output_text(c, "reset_method"));
        if (json_is_integer(group))
                printf("group:    %lld, %s\n", (long long) json_integer_value(group),
                       json_is_true(isolated) ? "isolated" : "shared with devices that the host uses");
        else
                printf("group:    none: no IOMMU\n");
        print_functions("members", json_object_get(c, "group"));
        print_functions("upstream", json_object_get(c, "upstream"));
        print_regions(json_object_get(c, "reserved_regions"));
        print_disks(json_object_get(c, "disks"));
}

int verb_show(const Arguments *a, Error **e) {
        _cleanup_json_ json_t *c = NULL;

        int r = check_addresses(a->words, a->n_words, e);
        if (r < 0 || (r = bus_simple(a, "Show", a->words[0], &c, e)) < 0)
                return r;
        if (a->json)
                output_json(c);
        else
                print_show(c);
        return EXIT_DONE;
}
