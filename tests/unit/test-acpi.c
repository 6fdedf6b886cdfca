/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firmware's IOMMU tables: what they say, whom they name, and that no table, however broken, does harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/macros.h"
#include "check/check.h"
#include "probe/acpi.h"
#include "support-plan.h"

typedef struct Table {
        uint8_t data[512];
        size_t size;
} Table;

static void put(Table *t, uint64_t n, size_t width) {
        for (size_t i = 0; i < width; i++)
                t->data[t->size++] = i < 8 ? (uint8_t) (n >> 8 * i) : 0;
}

static Table table(const char *signature, uint8_t flags) {
        Table t = { .size = 48 };

        memcpy(t.data, signature, 4);
        t.data[37] = flags;
        return t;
}

static Table *finish(Table *t) {
        size_t size = t->size;

        t->size = 4;
        put(t, size, 4);
        t->size = size;
        return t;
}

/* One RMRR of 0xf0000-0xfffff for the function below root port 00:02.0 of support-plan's machine. */
static Table with_rmrr(uint8_t type, uint8_t hops) {
        Table t = table("DMAR", DMAR_INTR_REMAP);

        put(&t, 0, 2); /* DRHD */
        put(&t, 16, 2);
        put(&t, 1, 1);
        put(&t, 0, 11);
        put(&t, 1, 2); /* RMRR */
        put(&t, 24 + 6 + 2u * hops, 2);
        put(&t, 0, 4);
        put(&t, 0xf0000, 8);
        put(&t, 0xfffff, 8);
        put(&t, type, 1);
        put(&t, 6 + 2u * hops, 1);
        put(&t, 0, 4);
        put(&t, 2, 2); /* 02.0 */
        if (hops > 1)
                put(&t, 0, 2);
        finish(&t);
        return t;
}

static Table with_ivmd(uint8_t type, uint16_t first, uint16_t last) {
        Table t = table("IVRS", 0);

        put(&t, 0x11, 1); /* IVHD */
        put(&t, 0, 1);
        put(&t, 24, 2);
        put(&t, 0, 20);
        put(&t, type, 1);
        put(&t, IVMD_EXCLUSION, 1);
        put(&t, 32, 2);
        put(&t, first, 2);
        put(&t, last, 2);
        put(&t, 0, 8);
        put(&t, 0xf0000, 8);
        put(&t, 1, 8);
        finish(&t);
        return t;
}

static void parse(const Table *t, Firmware *ret) {
        _cleanup_error_ Error *e = NULL;

        if (acpi_parse(t->data, t->size, ret, &e) < 0)
                fail_msg("%s", e->message);
}

static void rmrrs_are_read(void **state) {
        _cleanup_(firmware_clear) Firmware f = {};
        Table t = with_rmrr(SCOPE_ENDPOINT, 2);

        (void) state;
        parse(&t, &f);
        assert_int_equal(f.table, FIRMWARE_DMAR);
        assert_int_equal(f.flags, DMAR_INTR_REMAP);
        assert_int_equal(f.units, 1);
        assert_int_equal(f.n_regions, 1);
        assert_true(f.regions[0].start == 0xf0000 && f.regions[0].end == 0xfffff);
        assert_int_equal(f.regions[0].n_scopes, 1);
        assert_int_equal(f.regions[0].scopes[0].n_hops, 2);
        assert_int_equal(f.regions[0].scopes[0].hops[0].device, 2);
}

static void ivmds_are_read_in_whole_pages(void **state) {
        _cleanup_(firmware_clear) Firmware f = {};
        Table t = with_ivmd(IVMD_RANGE, 0x0300, 0x03ff);

        (void) state;
        parse(&t, &f);
        assert_int_equal(f.table, FIRMWARE_IVRS);
        assert_int_equal(f.units, 1);
        assert_int_equal(f.n_regions, 1);
        assert_true(f.regions[0].start == 0xf0000 && f.regions[0].end == 0xf0fff);
        assert_int_equal(f.regions[0].flags, IVMD_EXCLUSION);
        assert_int_equal(f.regions[0].first, 0x0300);
        assert_int_equal(f.regions[0].last, 0x03ff);
}

/* Cut anywhere, and with every byte after the header turned over, it is read or refused; the sanitizers see the rest. */
static void broken_tables_are_refused(void **state) {
        const Table whole[] = { with_rmrr(SCOPE_BRIDGE, 2), with_ivmd(IVMD_ALL, 0, 0) };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(whole); i++)
                for (size_t at = 0; at < whole[i].size; at++) {
                        _cleanup_(firmware_clear) Firmware cut = {}, turned = {};
                        Table t = whole[i];
                        assert_int_equal(acpi_parse(t.data, at, &cut, NULL), -EBADMSG);
                        t.data[at] ^= 0xff;
                        int r = acpi_parse(t.data, t.size, &turned, NULL);
                        assert_true(r == 0 || r == -EBADMSG);
                        assert_int_equal(cut.n_regions, 0);
                }
}

static void lengths_that_lie_are_refused(void **state) {
        static const struct {
                size_t offset;
                uint8_t value;
        } lies[] = {
                { 4, 47 }, { 4, 255 }, { 50, 0 }, { 50, 3 }, { 50, 255 }, { 66, 23 }, { 89, 0 }, { 89, 6 }, { 89, 9 }, { 89, 12 }, { 89, 254 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                Table t = with_rmrr(SCOPE_ENDPOINT, 2);
                Firmware f = {};
                t.data[lies[i].offset] = lies[i].value;
                if (acpi_parse(t.data, t.size, &f, NULL) != -EBADMSG)
                        fail_msg("%d at %zu was taken", lies[i].value, lies[i].offset);
        }
}

/* The evidence of reserved-region for a machine whose controller has a direct region, and whose firmware has this table. */
static bool is_explained(const Table *t, const char *words) {
        const CheckRequest q = { .controllers = &hba, .n_controllers = 1 };
        _cleanup_(host_freep) Host *h = machine_new();
        IommuGroup *g = (IommuGroup *) host_group_of(h, &hba);
        _cleanup_findings_ FindingList l = {};
        bool found = false;

        free(g->regions);
        g->regions = calloc(1, sizeof *g->regions);
        g->regions[0] = (ReservedRegion){ 0xf0000, 0xfffff, REGION_DIRECT };
        g->n_regions = 1;
        machine_function(h, &hba)->parent = (PciAddress){ 0, 0, 2, 0 };
        machine_function(h, &hba)->has_parent = true;
        parse(t, &h->firmware);
        assert_int_equal(check_run(h, &q, &l, NULL), 0);
        for (size_t i = 0; i < l.n; i++)
                for (size_t j = 0; str_equal(l.items[i].check, "reserved-region") && j < l.items[i].n_evidence; j++)
                        found |= strstr(l.items[i].evidence[j], words) != NULL;
        return found;
}

static void the_firmwares_demand_is_named(void **state) {
        const Table endpoint = with_rmrr(SCOPE_ENDPOINT, 2), bridge = with_rmrr(SCOPE_BRIDGE, 1), port = with_rmrr(SCOPE_ENDPOINT, 1),
                    all = with_ivmd(IVMD_ALL, 0, 0), one = with_ivmd(IVMD_ONE, 0x0300, 0), other = with_ivmd(IVMD_ONE, 0x0400, 0),
                    range = with_ivmd(IVMD_RANGE, 0x02ff, 0x0300);

        (void) state;
        assert_true(is_explained(&endpoint, "RMRR 0xf0000-0xfffff is for 0000:03:00.0"));
        assert_true(is_explained(&bridge, "RMRR 0xf0000-0xfffff is for 0000:03:00.0"));
        assert_false(is_explained(&port, "RMRR"));
        assert_true(is_explained(&all, "IVMD 0xf0000-0xf0fff is for 0000:03:00.0"));
        assert_true(is_explained(&one, "IVMD"));
        assert_true(is_explained(&range, "IVMD"));
        assert_false(is_explained(&other, "IVMD"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rmrrs_are_read),
                cmocka_unit_test(ivmds_are_read_in_whole_pages),
                cmocka_unit_test(broken_tables_are_refused),
                cmocka_unit_test(lengths_that_lie_are_refused),
                cmocka_unit_test(the_firmwares_demand_is_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
