/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints what an ACPI table says as one line, the columns of the expectations: kind, units, interrupt remapping, regions. */
#include <fcntl.h>

#include "base/file.h"
#include "probe/acpi.h"

static void print_scope(const FirmwareScope *s) {
        printf(" %d/%02x:", s->type, s->start_bus);
        for (size_t i = 0; i < s->n_hops; i++)
                printf("%s%02x.%x", i ? "/" : "", s->hops[i].device, s->hops[i].function);
}

static void print_region(const FirmwareRegion *r) {
        if (r->type) {
                printf("%x flags %x dev %04x aux %04x %llx %llx", r->type, r->flags, r->type == IVMD_ALL ? 0 : r->first,
                       r->type == IVMD_RANGE ? r->last : 0, (unsigned long long) r->start, (unsigned long long) r->length);
                return;
        }
        printf("%u %llx %llx:", r->segment, (unsigned long long) r->start, (unsigned long long) r->end);
        for (size_t i = 0; i < r->n_scopes; i++)
                print_scope(&r->scopes[i]);
}

int main(int argc, char **argv) {
        _cleanup_(firmware_clear) Firmware f = {};
        _cleanup_free_ char *table = NULL;
        _cleanup_error_ Error *e = NULL;
        size_t size;

        if (argc != 2 || file_read(AT_FDCWD, argv[1], &table, &size) < 0) {
                fprintf(stderr, "usage: print-acpi TABLE\n");
                return 2;
        }
        if (acpi_parse((const uint8_t *) table, size, &f, &e) < 0) {
                printf("%s\n", e->message);
                return 1;
        }
        printf("%s\t%zu\t%s\t", f.table == FIRMWARE_DMAR ? "DMAR" : "IVRS", f.units,
               f.table == FIRMWARE_IVRS ? "-" : f.flags & DMAR_INTR_REMAP ? "1" : "0");
        for (size_t i = 0; i < f.n_regions; i++) {
                printf("%s", i ? "; " : "");
                print_region(&f.regions[i]);
        }
        printf("\n");
        return 0;
}
