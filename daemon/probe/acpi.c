/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware's IOMMU tables. Layouts: include/acpi/actbl1.h (DMAR), actbl2.h (IVRS); what the kernel makes of them:
 * drivers/iommu/intel/dmar.c, drivers/iommu/amd/init.c. All numbers are little-endian; every length comes from the table and is
 * checked against what is left of it.
 */
#include "probe/acpi.h"

#include <errno.h>

#include "base/file.h"
#include "probe/probe.h"

#define HEADER 36         /* ACPI Specification 6.5, section 5.2.6 */
#define STRUCTURES 48     /* both tables' own header ends there */
#define TABLE_MAX (256u * 1024)
#define PAGE 4096u

typedef struct Bytes {
        const uint8_t *data;
        size_t size;
} Bytes;

static uint64_t number(Bytes b, size_t offset, size_t width) {
        uint64_t n = 0;

        for (size_t i = 0; i < width; i++)
                n |= (uint64_t) b.data[offset + i] << 8 * i;
        return n;
}

static Bytes slice(Bytes b, size_t offset, size_t size) {
        return (Bytes){ b.data + offset, size };
}

static int add_region(Firmware *f, const FirmwareRegion *r) {
        FirmwareRegion *more = reallocarray(f->regions, f->n_regions + 1, sizeof *more);

        if (!more)
                return -ENOMEM;
        f->regions = more;
        more[f->n_regions++] = *r;
        return 0;
}

/* -- DMAR -------------------------------------------------------------------------------------------------------------- */

static int add_scope(FirmwareRegion *r, Bytes b) {
        FirmwareScope s = { .type = b.data[0], .start_bus = b.data[5], .n_hops = (uint8_t) ((b.size - 6) / 2) };

        for (size_t i = 0; i < s.n_hops; i++) {
                s.hops[i].device = b.data[6 + 2 * i];
                s.hops[i].function = b.data[7 + 2 * i];
        }
        FirmwareScope *more = reallocarray(r->scopes, r->n_scopes + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        r->scopes = more;
        more[r->n_scopes++] = s;
        return 0;
}

static int read_scopes(FirmwareRegion *r, Bytes b) {
        int s = 0;

        for (size_t at = 0; s >= 0 && at < b.size;) {
                size_t length = b.size - at < 8 ? 0 : b.data[at + 1];
                /* one hop at least, and whole ones */
                if (length < 8 || length % 2 || length > b.size - at)
                        return -EBADMSG;
                s = add_scope(r, slice(b, at, length));
                at += length;
        }
        return s;
}

/* Reserved Memory Region Reporting, section 8.4 */
static int read_rmrr(Firmware *f, Bytes b) {
        FirmwareRegion r = {};

        if (b.size < 24)
                return -EBADMSG;
        r.segment = (uint16_t) number(b, 6, 2);
        r.start = number(b, 8, 8);
        r.end = number(b, 16, 8);
        int s = r.start > r.end ? -EBADMSG : read_scopes(&r, slice(b, 24, b.size - 24));
        if (s >= 0)
                s = add_region(f, &r);
        if (s < 0)
                free(r.scopes);
        return s;
}

static int read_dmar(Firmware *f, Bytes table) {
        int r = 0;

        f->table = FIRMWARE_DMAR;
        f->flags = table.data[HEADER + 1];
        for (size_t at = STRUCTURES; r >= 0 && at < table.size;) {
                size_t left = table.size - at, length = left < 4 ? 0 : number(table, at + 2, 2);
                if (length < 4 || length > left)
                        return -EBADMSG;
                uint64_t type = number(table, at, 2);
                if (type == 0)
                        f->units++;
                else if (type == 1)
                        r = read_rmrr(f, slice(table, at, length));
                at += length;
        }
        return r;
}

/* -- IVRS -------------------------------------------------------------------------------------------------------------- */

static uint64_t page_up(uint64_t n) {
        return n > UINT64_MAX - (PAGE - 1) ? UINT64_MAX & ~(uint64_t) (PAGE - 1) : (n + PAGE - 1) & ~(uint64_t) (PAGE - 1);
}

/* The kernel maps whole pages: init_unity_map_range, drivers/iommu/amd/init.c. */
static int read_ivmd(Firmware *f, Bytes b) {
        FirmwareRegion r = { .type = b.data[0], .flags = b.data[1] };

        if (b.size < 32)
                return -EBADMSG;
        r.first = r.type == IVMD_ALL ? 0 : (uint16_t) number(b, 4, 2);
        r.last = r.type == IVMD_ALL ? UINT16_MAX : r.type == IVMD_ONE ? r.first : (uint16_t) number(b, 6, 2);
        r.segment = (uint16_t) number(b, 8, 2);
        r.start = number(b, 16, 8);
        r.length = number(b, 24, 8);
        if (r.length == 0)
                return 0;
        uint64_t from = page_up(r.start), size = page_up(r.length);
        r.end = size - 1 > UINT64_MAX - from ? UINT64_MAX : from + size - 1;
        return add_region(f, &r);
}

static bool is_ivhd(uint8_t type) {
        return type == 0x10 || type == 0x11 || type == 0x40;
}

static int read_ivrs(Firmware *f, Bytes table) {
        int r = 0;

        f->table = FIRMWARE_IVRS;
        for (size_t at = STRUCTURES; r >= 0 && at < table.size;) {
                size_t left = table.size - at, length = left < 4 ? 0 : number(table, at + 2, 2);
                if (length < 4 || length > left)
                        return -EBADMSG;
                uint8_t type = table.data[at];
                if (is_ivhd(type))
                        f->units++;
                else if (type >= IVMD_ALL && type <= IVMD_RANGE)
                        r = read_ivmd(f, slice(table, at, length));
                at += length;
        }
        return r;
}

/* -- tables ------------------------------------------------------------------------------------------------------------ */

int acpi_parse(const uint8_t *table, size_t size, Firmware *ret, Error **e) {
        Bytes b = { table, size };
        _cleanup_(firmware_clear) Firmware f = {};
        int r = -EBADMSG;

        if (size < STRUCTURES || size > TABLE_MAX)
                return error_set(e, EBADMSG, "an ACPI table of %zu bytes cannot be right", size);
        uint64_t length = number(b, 4, 4);
        if (length < STRUCTURES || length > size)
                return error_set(e, EBADMSG, "an ACPI table of %zu bytes says that it has %llu", size, (unsigned long long) length);
        b.size = length;
        if (memcmp(table, "DMAR", 4) == 0)
                r = read_dmar(&f, b);
        else if (memcmp(table, "IVRS", 4) == 0)
                r = read_ivrs(&f, b);
        else
                return error_set(e, EBADMSG, "an ACPI table is neither DMAR nor IVRS");
        if (r < 0)
                return r == -ENOMEM ? error_oom(e) : error_set(e, EBADMSG, "the %.4s table is malformed", (const char *) table);
        *ret = f;
        f = (Firmware){};
        return 0;
}

/* Only root can read them. What cannot be read or understood explains nothing, and stands in nobody's way. */
int probe_acpi(Host *h, int root, Error **e) {
        static const char *const paths[] = { "/sys/firmware/acpi/tables/DMAR", "/sys/firmware/acpi/tables/IVRS" };

        for (size_t i = 0; i < ELEMENTSOF(paths) && h->firmware.table == FIRMWARE_NONE; i++) {
                _cleanup_free_ char *table = NULL;
                size_t size;
                if (file_read(root, paths[i], &table, &size) < 0)
                        continue;
                if (acpi_parse((const uint8_t *) table, size, &h->firmware, NULL) == -ENOMEM)
                        return error_oom(e);
        }
        return 0;
}
