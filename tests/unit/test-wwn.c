/* SPDX-License-Identifier: GPL-2.0-or-later */
/* World-wide names as real sources write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/wwn.h"

static void sources_agree(void **state) {
        static const char *const same[][5] = {
                /* sysfs, udev's ID_WWN_WITH_EXTENSION, scsi_id, a domain's <wwn> */
                { "naa.5000c500a1b2c3d4", "0x5000c500a1b2c3d4", "35000c500a1b2c3d4", "5000C500A1B2C3D4" },
                { "naa.600508b1001c0123456789abcdef0123", "0x600508b1001c0123456789abcdef0123", "3600508b1001c0123456789abcdef0123" },
                { "eui.0025385b71b0a1c2", "20025385b71b0a1c2", "eui.0025385B71B0A1C2" },
                { "eui.00000000000000018ce38e0300123456" },
                { "uuid.6f3c0000-0000-4000-8000-000000000001", "uuid.6F3C0000-0000-4000-8000-000000000001" },
                { "nvme.1b36-6e76-51454d55204e564d65204374726c-00000001" },
                { "t10.QEMU    QEMU HARDDISK   disk-1  ", "t10.QEMU_QEMU_HARDDISK_disk-1" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(same); i++)
                for (size_t j = 0; j < ELEMENTSOF(same[i]) && same[i][j]; j++) {
                        char first[WWN_MAX], form[WWN_MAX];
                        if (!wwn_normal(same[i][0], first) || !wwn_normal(same[i][j], form))
                                fail_msg("%s is taken for no name", same[i][j]);
                        assert_string_equal(form, first);
                }
}

static void kinds_are_told_apart(void **state) {
        char naa[WWN_MAX], eui[WWN_MAX];

        (void) state;
        assert_true(wwn_normal("naa.0025385b71b0a1c2", naa) && wwn_normal("eui.0025385b71b0a1c2", eui));
        assert_string_not_equal(naa, eui);
        assert_int_equal(wwn_prefix("0x5000c500a1b2c3d4"), 2);
        assert_int_equal(wwn_prefix("35000c500a1b2c3d4"), 1);
        assert_int_equal(wwn_prefix("3000c500a1b2c3d4"), 0);
        assert_int_equal(wwn_prefix("naa.5000"), 4);
}

static void what_disks_share_is_no_name(void **state) {
        static const char *const bad[] = {
                NULL, "", "0x", "naa.0000000000000000", "eui.ffffffffffffffff", "uuid.00000000-0000-0000-0000-000000000000", "WD-WCC4N0123456",
                "t10.ATA     SSD 120GB                               AA000000000000000001",
        };
        char form[WWN_MAX], *longest = calloc(1, 2 * WWN_MAX);

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (wwn_normal(bad[i], form))
                        fail_msg("%s is taken for the name of one disk", bad[i]);
        memcpy(longest, "naa.", 4);
        memset(longest + 4, '5', 2 * WWN_MAX - 5);
        assert_false(wwn_normal(longest, form));
        free(longest);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sources_agree),
                cmocka_unit_test(kinds_are_told_apart),
                cmocka_unit_test(what_disks_share_is_no_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
