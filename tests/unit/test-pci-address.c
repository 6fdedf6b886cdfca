/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/pci-address.h"

static void parses_what_sysfs_writes(void **state) {
        static const struct {
                const char *text;
                PciAddress address;
        } cases[] = {
                { "0000:03:00.0", { 0, 3, 0, 0 } },
                { "0000:ff:1f.7", { 0, 0xff, 0x1f, 7 } },
                { "10000:e1:00.0", { 0x10000, 0xe1, 0, 0 } },
                { "ffffffff:00:00.1", { 0xffffffff, 0, 0, 1 } },
                { "ABCD:0A:0b.3", { 0xabcd, 0x0a, 0x0b, 3 } },
        };
        PciAddress a;

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(pci_address_parse(cases[i].text, &a), 0);
                assert_true(pci_address_equal(&a, &cases[i].address));
        }
}

static void refuses_everything_else(void **state) {
        static const char *const cases[] = {
                "", "0000", "0000:03:00", "03:00.0", "000:03:00.0", "0000:3:00.0", "0000:03:20.0", "0000:03:00.8",
                "0000:03:00.0 ", " 0000:03:00.0", "0000:03:00.00", "123456789:03:00.0", "0000:03:00.0/..", "0000-03-00.0",
                "00g0:03:00.0", "-000:03:00.0", "0x00:03:00.0",
        };
        PciAddress a;

        (void) state;
        assert_true(pci_address_parse(NULL, &a) < 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_true(pci_address_parse(cases[i], &a) < 0);
}

static void formats_back(void **state) {
        static const char *const cases[] = { "0000:03:00.0", "10000:e1:1f.7", "ffffffff:ff:1f.7" };
        char buffer[PCI_ADDRESS_MAX];
        PciAddress a;

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(pci_address_parse(cases[i], &a), 0);
                assert_string_equal(pci_address_format(&a, buffer), cases[i]);
        }
}

static void sorts_by_domain_bus_device_function(void **state) {
        static const char *const sorted[] = { "0000:00:1f.2", "0000:03:00.0", "0000:03:00.1", "0000:03:01.0", "0001:00:00.0" };
        PciAddress a, b;

        (void) state;
        for (size_t i = 0; i + 1 < ELEMENTSOF(sorted); i++) {
                assert_int_equal(pci_address_parse(sorted[i], &a), 0);
                assert_int_equal(pci_address_parse(sorted[i + 1], &b), 0);
                assert_true(pci_address_compare(&a, &b) < 0);
                assert_true(pci_address_compare(&b, &a) > 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parses_what_sysfs_writes),
                cmocka_unit_test(refuses_everything_else),
                cmocka_unit_test(formats_back),
                cmocka_unit_test(sorts_by_domain_bus_device_function),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
