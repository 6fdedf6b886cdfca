/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <errno.h>

#include "base/text.h"

static const char *text_of(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

static Obstacle obstacle_of(const json_t *finding, int verdict) {
        bool acceptable = str_equal(text_of(finding, "kind"), "acceptable");

        if (verdict == VERDICT_FAIL)
                return acceptable ? OBSTACLE_ACCEPTABLE : OBSTACLE_REFUSED;
        return verdict == VERDICT_SKIP && !acceptable ? OBSTACLE_UNKNOWN : OBSTACLE_NONE;
}

static bool is_id(const char *s) {
        return s && *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-")] == 0;
}

/* What comes from another machine is shown on a terminal: an id that is none is not. */
static Item item_of(const json_t *finding, size_t index) {
        const char *check = text_of(finding, "check");
        int verdict = verdict_from_string(text_of(finding, "verdict"));
        Item i = { .finding = finding, .check = is_id(check) ? check : "-", .subject = text_of(finding, "subject"), .index = index };

        i.is_controller = pci_address_parse(i.subject, &i.address) >= 0;
        /* A newer daemon's verdict is shown, not understood. */
        i.verdict = verdict < 0 ? (int) VERDICT_SKIP : verdict;
        i.obstacle = obstacle_of(finding, i.verdict);
        return i;
}

/* A skipped check may stop an assignment, so it comes before what is only told. */
static int rank(int verdict) {
        static const int ranks[_VERDICT_MAX] = {
                [VERDICT_FAIL] = 0, [VERDICT_WARN] = 1, [VERDICT_SKIP] = 2, [VERDICT_INFO] = 3, [VERDICT_PASS] = 4,
        };

        return ranks[verdict];
}

static int compare_subjects(const Item *a, const Item *b) {
        if (!a->subject || !b->subject)
                return !!a->subject - !!b->subject;
        if (a->is_controller != b->is_controller)
                return a->is_controller - b->is_controller;
        return a->is_controller ? pci_address_compare(&a->address, &b->address) : strcmp(a->subject, b->subject);
}

static int compare_items(const void *x, const void *y) {
        const Item *a = x, *b = y;
        int r = compare_subjects(a, b);

        if (r == 0)
                r = rank(a->verdict) - rank(b->verdict);
        return r ? r : a->index < b->index ? -1 : 1;
}

static void add_to_group(Report *r, size_t i) {
        const Item *item = &r->items[i];

        if (i == 0 || compare_subjects(item - 1, item) != 0) {
                r->groups[r->n_groups++] = (Group){ .items = item, .worst = item->is_controller ? r->common : OBSTACLE_NONE };
                r->n_common += !item->is_controller;
        }
        Group *g = &r->groups[r->n_groups - 1];
        g->n++;
        if (item->obstacle > g->worst)
                g->worst = item->obstacle;
        /* All of these come before the first controller. */
        if (!item->is_controller && item->obstacle > r->common)
                r->common = item->obstacle;
}

int report_make(const json_t *result, Report *ret) {
        const json_t *findings = json_object_get(result, "findings");
        Report r = { .n = json_array_size(findings) };

        r.items = calloc(r.n + 1, sizeof *r.items);
        r.groups = calloc(r.n + 1, sizeof *r.groups);
        if (!r.items || !r.groups) {
                report_clear(&r);
                return -ENOMEM;
        }
        for (size_t i = 0; i < r.n; i++)
                r.items[i] = item_of(json_array_get(findings, i), i);
        qsort(r.items, r.n, sizeof *r.items, compare_items);
        for (size_t i = 0; i < r.n; i++)
                add_to_group(&r, i);
        *ret = r;
        return 0;
}

void report_clear(Report *r) {
        free(r->items);
        free(r->groups);
        *r = (Report){};
}

/* Sorted: the findings of one check with the same verdict follow one another. */
static const char *print_reasons_of(FILE *out, const Group *g, Obstacle o, const char *before, const char *between, const char *last) {
        for (size_t i = 0; i < g->n; i++) {
                if (g->items[i].obstacle != o || str_equal(g->items[i].check, last))
                        continue;
                (void) fprintf(out, "%s%s%s", last ? between : "", before, g->items[i].check);
                last = g->items[i].check;
        }
        return last;
}

void report_reasons(FILE *out, const Report *r, const Group *g, Obstacle o, const char *before, const char *between) {
        const char *last = NULL;

        for (size_t i = 0; i < r->n_common; i++)
                last = print_reasons_of(out, &r->groups[i], o, before, between, last);
        (void) print_reasons_of(out, g, o, before, between, last);
}

/* -- paragraphs ---------------------------------------------------------------------------------------------------------- */

/* Each character of UTF-8 counts as one column: what is wider lets the terminal break the line itself. */
static size_t columns_of(const char *s, size_t n) {
        size_t columns = 0;

        for (size_t i = 0; i < n; i++)
                columns += ((unsigned char) s[i] & 0xc0) != 0x80;
        return columns;
}

void report_paragraph(FILE *out, const FindingsView *view, size_t column, size_t indent, const char *text) {
        _cleanup_free_ char *clean = strdup(text ? text : "-");
        bool first = true;

        text_clean(clean);
        for (const char *word = clean; word && *word; ) {
                size_t n = strcspn(word, " "), columns = columns_of(word, n);
                if (!first && view->width && column + 1 + columns > view->width) {
                        (void) fprintf(out, "\n%*s", (int) indent, "");
                        column = indent;
                } else if (!first) {
                        (void) fputc(' ', out);
                        column++;
                }
                (void) fwrite(word, 1, n, out);
                column += columns;
                first = false;
                word += n + (word[n] == ' ');
        }
        (void) fputc('\n', out);
}
