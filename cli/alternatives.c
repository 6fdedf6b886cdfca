/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is possible where no controller can be assigned. */
#include "report.h"

/* What helps a controller, by what stands in its way; the last that one of its findings asks for is what it needs. */
typedef enum Help {
        HELP_REMEDY, /* what the finding says */
        HELP_SLOT,   /* its card in another slot */
        HELP_CARD,   /* another card */
} Help;

static Help help_of_item(const Item *i) {
        if (str_equal(i->check, "host-boot-path") || str_equal(i->check, "reserved-region"))
                return HELP_CARD;
        if (!str_equal(i->check, "group-isolated"))
                return HELP_REMEDY;
        /* On the root bus are the chipset's own: nobody can move them. */
        return i->address.bus == 0 ? HELP_CARD : HELP_SLOT;
}

static Help help_of(const Group *g) {
        Help help = HELP_REMEDY;

        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].obstacle == OBSTACLE_REFUSED && help_of_item(&g->items[i]) > help)
                        help = help_of_item(&g->items[i]);
        return help;
}

static bool has_own_obstacle(const Group *g) {
        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].obstacle == OBSTACLE_REFUSED)
                        return true;
        return false;
}

static void print_bullet(FILE *out, const FindingsView *view, const char *text) {
        (void) fputs("  - ", out);
        report_paragraph(out, view, 4, 4, text);
}

/* One line for all controllers that the same helps; nothing when there is none. */
static void print_help(FILE *out, const Report *r, const FindingsView *view, Help help, const char *what) {
        const Report own = { .n_common = 0 }; /* the host's obstacles have a line of their own */
        _cleanup_free_ char *text = NULL;
        size_t size, n = 0;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return;
        (void) fputs(what, stream);
        for (size_t i = r->n_common; i < r->n_groups; i++) {
                const Group *g = &r->groups[i];
                if (!has_own_obstacle(g) || help_of(g) != help)
                        continue;
                (void) fprintf(stream, "%s%s (", n++ ? ", " : " ", g->items[0].subject);
                report_reasons(stream, &own, g, OBSTACLE_REFUSED, "", ", ");
                (void) fputs(")", stream);
        }
        if (fclose(stream) == 0 && n > 0)
                print_bullet(out, view, text);
}

static void print_common(FILE *out, const Report *r, const FindingsView *view) {
        const Group nobody = {};
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *stream = r->common == OBSTACLE_REFUSED ? open_memstream(&text, &size) : NULL;

        if (!stream)
                return;
        (void) fputs("Before any controller, put right as said above: ", stream);
        report_reasons(stream, r, &nobody, OBSTACLE_REFUSED, "", ", ");
        if (fclose(stream) == 0)
                print_bullet(out, view, text);
}

void report_alternatives(FILE *out, const Report *r, const FindingsView *view) {
        for (size_t i = r->n_common; i < r->n_groups; i++)
                if (r->groups[i].worst != OBSTACLE_REFUSED)
                        return;
        (void) fputs("What is possible instead:\n", out);
        print_common(out, r, view);
        print_help(out, r, view, HELP_REMEDY, "Putting right what is marked with -> above:");
        print_help(out, r, view, HELP_SLOT, "Another slot for the card, best one of the processor's:");
        print_help(out, r, view, HELP_CARD, "A separate HBA, in a slot with an IOMMU group of its own, instead of");
        if (r->n_common == r->n_groups)
                print_bullet(out, view, "A SATA, SAS or NVMe controller (HBA) in a slot with an IOMMU group of its own.");
        print_bullet(out, view, "Without passthrough, whole disks that the host does not use as virtio disks, by their links in "
                                "/dev/disk/by-id: virsh attach-disk GUEST /dev/disk/by-id/DISK vdb --targetbus virtio --config. "
                                "The guest sees neither SMART data nor the controller then.");
}
