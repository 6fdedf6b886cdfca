/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record/alias.h"

#include <ctype.h>
#include <errno.h>

#include "model/wwn.h"

/* Shorter values are also ordinary words and numbers. */
#define SERIAL_MIN 4
#define HOST_MIN 2
/* Names of this length that no separator breaks are made by machines: LVM's, ZFS's and NVMe's identifiers. */
#define RUN_MIN 32

typedef struct Alias {
        AliasKind kind;
        char *value, *alias;
} Alias;

struct Aliases {
        Alias *items;           /* longest first */
        size_t n;
        bool raw;
};

Aliases *aliases_new(bool raw) {
        Aliases *a = calloc(1, sizeof *a);

        if (a)
                a->raw = raw;
        return a;
}

Aliases *aliases_free(Aliases *a) {
        for (size_t i = 0; a && i < a->n; i++) {
                free(a->items[i].value);
                free(a->items[i].alias);
        }
        if (a)
                free(a->items);
        free(a);
        return NULL;
}

size_t aliases_count(const Aliases *a) {
        return a->n;
}

/* -- making them --------------------------------------------------------------------------------------------------------- */

/* "WD-WCC4N0123456" → "S0-000000000007": the shape of the value, and a number in it. */
static char *shaped(const char *value, size_t size, bool hexadecimal, unsigned number) {
        char *alias = strndup(value, size), *first = NULL;
        bool digits = true;

        for (char *p = alias; p && *p; p++) {
                if (!isalnum((unsigned char) *p))
                        continue;
                digits &= isdigit((unsigned char) *p) != 0;
                *p = '0';
                if (!first)
                        first = p;
        }
        for (char *p = alias ? alias + strlen(alias) : NULL; p && p > alias && number > 0;)
                if (isalnum((unsigned char) *--p)) {
                        *p = (char) ('0' + number % 10);
                        number /= 10;
                }
        /* No number begins with 0, and a serial number should look like none of a real disk. */
        if (first && !hexadecimal && *first == '0')
                *first = digits ? '9' : 'S';
        return alias;
}

static const Alias *find(const Aliases *a, const char *value, size_t size) {
        for (size_t i = 0; i < a->n; i++)
                if (strlen(a->items[i].value) == size && strncasecmp(a->items[i].value, value, size) == 0)
                        return &a->items[i];
        return NULL;
}

/* Keeps the longest first, so that a value inside another one never hides it. */
static int add(Aliases *a, AliasKind kind, const char *value, size_t size, const Alias **ret) {
        const Alias *known = find(a, value, size);

        if (ret)
                *ret = known;
        if (known)
                return 0;
        Alias *more = reallocarray(a->items, a->n + 1, sizeof *more);
        if (!more)
                return -ENOMEM;
        a->items = more;
        Alias new = { .kind = kind, .value = strndup(value, size) };
        if (kind != ALIAS_HOST)
                new.alias = shaped(value, size, kind != ALIAS_SERIAL, (unsigned) a->n + 1);
        else if (asprintf(&new.alias, "host%zu", a->n + 1) < 0)
                new.alias = NULL;
        if (!new.value || !new.alias) {
                free(new.value);
                free(new.alias);
                return -ENOMEM;
        }
        size_t at = 0;
        while (at < a->n && strlen(more[at].value) >= size)
                at++;
        memmove(&more[at + 1], &more[at], (a->n - at) * sizeof *more);
        more[at] = new;
        a->n++;
        if (ret)
                *ret = &more[at];
        return 0;
}

/* As udev's links have it. */
static int add_escaped(Aliases *a, const char *value) {
        _cleanup_free_ char *copy = strdup(value);

        for (char *p = copy; p && *p; p++)
                if (*p == ' ' || *p == '/')
                        *p = '_';
        return copy ? add(a, ALIAS_SERIAL, copy, strlen(copy), NULL) : -ENOMEM;
}

/* The part after the kind of name: the digits, or of a T10 name the serial number at its end. */
static const char *wwn_part(const char *value) {
        const char *space = strrchr(value, ' ');

        return space ? space + 1 : value + wwn_prefix(value);
}

int aliases_add(Aliases *a, AliasKind kind, const char *value) {
        if (a->raw || !value)
                return 0;
        if (kind == ALIAS_WWN)
                value = wwn_part(value);
        size_t size = strlen(value);
        if (size < (kind == ALIAS_HOST ? HOST_MIN : SERIAL_MIN))
                return 0;
        int r = add(a, kind, value, size, NULL);
        return r >= 0 && kind == ALIAS_SERIAL && strpbrk(value, " /") ? add_escaped(a, value) : r;
}

int aliases_value(Aliases *a, AliasKind kind, const char *value, char **ret) {
        const char *part = kind == ALIAS_WWN ? wwn_part(value) : value;
        const Alias *alias = NULL;

        if (!a->raw && *part && add(a, kind, part, strlen(part), &alias) < 0)
                return -ENOMEM;
        return asprintf(ret, "%.*s%s", alias ? (int) (part - value) : (int) strlen(value), value, alias ? alias->alias : "") < 0 ? -ENOMEM
                                                                                                                                 : 0;
}

int aliases_number(Aliases *a, uint64_t value, uint64_t *ret) {
        char text[24];
        const Alias *alias = NULL;

        *ret = value;
        if (a->raw)
                return 0;
        int size = snprintf(text, sizeof text, "%016llx", (unsigned long long) value);
        int r = add(a, ALIAS_WWN, text, (size_t) size, &alias);
        if (r >= 0)
                *ret = strtoull(alias->alias, NULL, 16);
        return r;
}

/* -- finding them -------------------------------------------------------------------------------------------------------- */

static bool is_word(char c) {
        return isalnum((unsigned char) c);
}

/* Length of the form at s, 0 when it is none: 'h' a hexadecimal digit, others are themselves. */
static size_t matches(const char *s, size_t left, const char *form) {
        size_t n = strlen(form);

        if (left < n)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (form[i] == 'h' ? !isxdigit((unsigned char) s[i]) : s[i] != form[i])
                        return 0;
        return n == left || !is_word(s[n]) ? n : 0;
}

static size_t digits_after(const char *s, size_t left, const char *prefix) {
        size_t n = strlen(prefix), digits = 0;

        if (left < n || strncmp(s, prefix, n) != 0)
                return 0;
        while (n + digits < left && isxdigit((unsigned char) s[n + digits]))
                digits++;
        return digits >= 12 ? n + digits : 0;
}

/* Length of what at s looks like an identifier, whoever made it; *ret_skip: of what is before the part to be replaced. */
static size_t pattern(const char *s, size_t left, size_t *ret_skip) {
        static const char *const forms[] = {
                "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh",  /* UUID */
                "hhhhhhhh:hhhhhhhh:hhhhhhhh:hhhhhhhh",   /* of an md array */
                "hh:hh:hh:hh:hh:hh",                     /* MAC address */
        };
        static const char *const prefixes[] = { "naa.", "eui.", "wwn-0x", "scsi-3", "scsi-2", "mpath-3", "mpath-2", "enx" };
        size_t n = 0;

        *ret_skip = 0;
        for (size_t i = 0; i < ELEMENTSOF(forms); i++)
                if ((n = matches(s, left, forms[i])) > 0)
                        return n;
        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if ((n = digits_after(s, left, prefixes[i])) > 0) {
                        *ret_skip = strlen(prefixes[i]); /* the digits alone are known from elsewhere */
                        return n;
                }
        for (n = 0; n < left && is_word(s[n]); n++)
                ;
        return n >= RUN_MIN ? n : 0;
}

/* A part of a web address is no name of this host. */
static bool in_address(const char *text, const char *at) {
        const char *begin = at;

        while (begin > text && !isspace((unsigned char) begin[-1]) && begin[-1] != '"' && begin[-1] != '\'')
                begin--;
        return strncmp(begin, "http://", 7) == 0 || strncmp(begin, "https://", 8) == 0;
}

/* "1234" is a serial number only where a value begins and ends. */
static bool is_weak(const char *value) {
        size_t n = strlen(value);

        return n < 6 || (n < 8 && strspn(value, "0123456789") == n);
}

static bool is_value(const char *text, const char *s, size_t n, size_t left) {
        return s > text && strchr("=\"'>_", s[-1]) && (n == left || (s[n] && strchr("\n\"'<_-", s[n])));
}

static const Alias *literal(const Aliases *a, const char *text, const char *s, size_t left, bool path) {
        for (size_t i = 0; i < a->n; i++) {
                const Alias *alias = &a->items[i];
                size_t n = strlen(alias->value);
                if (n > left || strncasecmp(alias->value, s, n) != 0 || (n < left && is_word(s[n]) && is_word(s[n - 1])))
                        continue;
                if (alias->kind != ALIAS_WWN && s > text && is_word(s[-1]) && is_word(*s))
                        continue;
                if (alias->kind == ALIAS_SERIAL && is_weak(alias->value) && !is_value(text, s, n, left))
                        continue;
                if (alias->kind != ALIAS_HOST || (!path && !in_address(text, s)))
                        return alias;
        }
        return NULL;
}

/* Where a WWN may begin within a word: behind 0x, or the digit of scsi_id ("35000c500…"). */
static bool is_behind_prefix(const char *text, const char *s) {
        if (s >= text + 2 && s[-1] == 'x' && s[-2] == '0')
                return true;
        return s > text && (s[-1] == '2' || s[-1] == '3') && (s == text + 1 || !is_word(s[-2]));
}

/* At the beginning of a word; a WWN also behind its prefix. */
static const Alias *known_at(const Aliases *a, const char *text, const char *s, size_t left, bool path) {
        bool begins = s == text || !is_word(s[-1]) || !is_word(*s) || is_behind_prefix(text, s);

        return begins ? literal(a, text, s, left, path) : NULL;
}

int aliases_text(Aliases *a, const char *text, size_t size, bool path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *copy = NULL;
        int r = 0;
        FILE *f = open_memstream(&copy, ret_size);

        if (!f)
                return -ENOMEM;
        for (size_t at = 0; r >= 0 && at < size;) {
                const Alias *alias = a->raw ? NULL : known_at(a, text, text + at, size - at, path);
                size_t skip = 0, n = alias ? strlen(alias->value) : 0;
                if (!alias && !a->raw && (at == 0 || !is_word(text[at - 1])) && (n = pattern(text + at, size - at, &skip)) > 0)
                        r = add(a, ALIAS_UUID, text + at + skip, n - skip, &alias);
                if (alias)
                        (void) fprintf(f, "%.*s%s", (int) skip, text + at, alias->alias);
                else
                        (void) fputc(text[at], f);
                at += n ? n : 1;
        }
        if (fclose(f) != 0 || r < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(copy);
        return 0;
}
