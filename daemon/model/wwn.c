/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/wwn.h"

#include <ctype.h>

/* The longest of the NAA formats, and a usual one (SCSI Primary Commands 4, section 7.8.6.6): 32 and 16 digits. */
static bool is_whole(const char *digits) {
        size_t n = strspn(digits, "0123456789abcdefABCDEF");

        return !digits[n] && (n == 16 || n == 32);
}

/* sysfs (drivers/scsi/scsi_lib.c, scsi_vpd_lun_id; drivers/nvme/host/core.c, wwid_show), udev's ID_WWN (0x), and scsi_id, which
 * begins with the designator's type: 3 NAA, 2 EUI-64. */
static const struct {
        const char *prefix, *kind;
        bool bare; /* the rest is nothing but digits of a usual number */
} kinds[] = {
        { "naa.", "naa.", false }, { "0x", "naa.", false }, { "eui.", "eui.", false }, { "uuid.", "uuid.", false },
        { "nvme.", "nvme.", false }, { "t10.", "t10.", false }, { "3", "naa.", true }, { "2", "eui.", true }, { "", "naa.", true },
};

static size_t kind_of(const char *wwn) {
        size_t i = 0;

        for (; i < ELEMENTSOF(kinds); i++) {
                size_t n = strlen(kinds[i].prefix);
                if (strncasecmp(wwn, kinds[i].prefix, n) == 0 && (!kinds[i].bare || is_whole(wwn + n)))
                        break;
        }
        return i;
}

size_t wwn_prefix(const char *wwn) {
        size_t i = kind_of(wwn);

        return i < ELEMENTSOF(kinds) ? strlen(kinds[i].prefix) : 0;
}

static bool is_blank(char c) {
        return isspace((unsigned char) c) || c == '_';
}

/* In small letters, with one space for each run of spaces, which udev writes as '_'. */
static void append_plainly(char *to, const char *name) {
        char *at = to + strlen(to);

        for (; *name; name++)
                if (!is_blank(*name))
                        *at++ = (char) tolower((unsigned char) *name);
                else if (name[1] && !is_blank(name[1]))
                        *at++ = ' ';
        *at = 0;
}

/* What a device without a name of its own answers. */
static bool is_blank_number(const char *name) {
        return name[strspn(name, "0-")] == 0 || name[strspn(name, "f-")] == 0;
}

bool wwn_normal(const char *wwn, char ret[static WWN_MAX]) {
        size_t i = wwn ? kind_of(wwn) : ELEMENTSOF(kinds);

        if (i == ELEMENTSOF(kinds) || strlen(wwn) + sizeof "naa." > WWN_MAX)
                return false;
        strcpy(ret, kinds[i].kind);
        append_plainly(ret, wwn + strlen(kinds[i].prefix));
        return !is_blank_number(ret + strlen(kinds[i].kind)) && strncmp(ret, "t10.ata ", strlen("t10.ata ")) != 0;
}
