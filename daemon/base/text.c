/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/text.h"

/* Length of the UTF-8 sequence at s (The Unicode Standard, table 3-7), 0 when it is none, or a control character. */
static size_t character(const unsigned char *s) {
        static const struct {
                unsigned char first, last, low, high; /* the first byte's range, the second's */
                size_t length;
        } forms[] = {
                { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
                { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
                { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        };

        if (s[0] < 0x80)
                return s[0] >= 0x20 && s[0] != 0x7f;
        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                if (s[0] < forms[i].first || s[0] > forms[i].last || s[1] < forms[i].low || s[1] > forms[i].high)
                        continue;
                for (size_t j = 2; j < forms[i].length; j++)
                        if (s[j] < 0x80 || s[j] > 0xbf)
                                return 0;
                /* U+0080 to U+009f are control characters as well. */
                return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : forms[i].length;
        }
        return 0;
}

void text_clean(char *s) {
        while (s && *s) {
                size_t n = character((const unsigned char *) s);
                if (n == 0)
                        *s = '?';
                s += n ? n : 1;
        }
}

void text_join_lines(char *text) {
        char *to = text;

        for (const char *s = text; *s; s++)
                if (s[0] == '\\' && s[1] == '\n')
                        s++;
                else
                        *to++ = *s;
        *to = 0;
}
