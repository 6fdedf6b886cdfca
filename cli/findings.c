/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "findings.h"

#include <errno.h>

#include "report.h"

/* Columns: two spaces, the verdict, two spaces, the check, one space, the message; details stand at DETAIL. */
enum { MARGIN = 2, VERDICT = 4, DETAIL = MARGIN + VERDICT + 2, MESSAGE_MIN = 30 };

const char *findings_color(const char *verdict) {
        if (str_equal(verdict, "fail"))
                return "\033[31m";
        if (str_equal(verdict, "warn"))
                return "\033[33m";
        return str_equal(verdict, "pass") ? "\033[32m" : "";
}

static void print_colored(FILE *out, const FindingsView *view, const char *verdict, const char *text) {
        const char *color = view->color ? findings_color(verdict) : "";

        (void) fprintf(out, "%s%-*s%s", color, VERDICT, text, *color ? FINDINGS_PLAIN : "");
}

/* -- findings ------------------------------------------------------------------------------------------------------------ */

static bool is_counted(const FindingsView *view, const Item *i) {
        return i->verdict == VERDICT_PASS && !view->verbose;
}

/* Of the longest check shown, so that the messages stand below one another. */
static size_t check_width(const Report *r, const FindingsView *view) {
        size_t width = 0;

        for (size_t i = 0; i < r->n; i++)
                if (!is_counted(view, &r->items[i]) && strlen(r->items[i].check) > width)
                        width = strlen(r->items[i].check);
        return width;
}

static void print_details(FILE *out, const FindingsView *view, const Item *item) {
        const char *remedy = json_string_value(json_object_get(item->finding, "remedy"));
        const json_t *line;
        size_t i;

        json_array_foreach(json_object_get(item->finding, "evidence"), i, line) {
                (void) fprintf(out, "%*s", DETAIL, "");
                report_paragraph(out, view, DETAIL, DETAIL + 2, json_string_value(line));
        }
        if (!remedy)
                return;
        (void) fprintf(out, "%*s-> ", DETAIL, "");
        report_paragraph(out, view, DETAIL + 3, DETAIL + 3, remedy);
}

static void print_item(FILE *out, const FindingsView *view, const Item *item, size_t width) {
        const char *verdict = verdict_to_string((Verdict) item->verdict);
        size_t column = DETAIL + width + 1;
        /* On a narrow terminal the message goes on below the check. */
        size_t indent = view->width && column + MESSAGE_MIN > view->width ? DETAIL : column;

        (void) fprintf(out, "%*s", MARGIN, "");
        print_colored(out, view, verdict, verdict);
        (void) fprintf(out, "  %-*s ", (int) width, item->check);
        report_paragraph(out, view, column, indent, json_string_value(json_object_get(item->finding, "message")));
        if (item->verdict != VERDICT_PASS)
                print_details(out, view, item);
}

static void print_group(FILE *out, const FindingsView *view, const Group *g, size_t width) {
        const Item *first = g->items;
        size_t passed = 0;

        (void) fputs(!first->subject || first->is_controller ? "" : "guest ", out);
        report_paragraph(out, view, 0, 0, first->subject ? first->subject : "this host");
        for (size_t i = 0; i < g->n; i++)
                if (is_counted(view, &g->items[i]))
                        passed++;
                else
                        print_item(out, view, &g->items[i], width);
        if (passed == 0)
                return;
        (void) fprintf(out, "%*s", MARGIN, "");
        print_colored(out, view, "pass", "pass");
        (void) fprintf(out, "  %zu check%s\n", passed, passed == 1 ? "" : "s");
}

/* -- the verdict in words ------------------------------------------------------------------------------------------------ */

/* "0000:03:00.0, 0000:04:00.0 and 0000:05:00.0" */
static void print_controllers(FILE *out, const Group *controllers, size_t n) {
        for (size_t i = 0; i < n; i++)
                (void) fprintf(out, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", controllers[i].items[0].subject);
}

static const Group *worst_of(const Group *controllers, size_t n) {
        const Group *worst = controllers;

        for (size_t i = 1; i < n; i++)
                if (controllers[i].worst > worst->worst)
                        worst = &controllers[i];
        return worst;
}

static size_t count_warnings(const Report *r) {
        size_t n = 0;

        for (size_t i = 0; i < r->n; i++)
                n += r->items[i].verdict == VERDICT_WARN;
        return n;
}

/* What hinders the worst of them; that of others is told above. */
static void print_worst(FILE *out, const Report *r, const Group *worst, bool several) {
        report_reasons(out, r, worst, worst->worst, worst->worst == OBSTACLE_ACCEPTABLE ? "--accept " : "",
                       worst->worst == OBSTACLE_ACCEPTABLE ? " " : ", ");
        if (several && worst->worst > r->common)
                (void) fprintf(out, " (%s)", worst->items[0].subject);
}

/* One controller, or several that go together. */
static void print_verdict_of_all(FILE *out, const Report *r, const Group *controllers, size_t n) {
        const Group *worst = worst_of(controllers, n);
        const char *together = n > 1 ? " together" : "";
        size_t warnings = count_warnings(r);

        if (worst->worst == OBSTACLE_UNKNOWN)
                (void) fputs("It is not known whether ", out);
        print_controllers(out, controllers, n);
        if (worst->worst == OBSTACLE_NONE) {
                (void) fprintf(out, " can be assigned%s", together);
                if (warnings > 0)
                        (void) fprintf(out, ", with %zu warning%s", warnings, warnings == 1 ? "" : "s");
        } else {
                (void) fprintf(out, worst->worst == OBSTACLE_REFUSED ? " cannot be assigned%s: " :
                                    worst->worst == OBSTACLE_UNKNOWN ? " can be assigned%s, so it is refused; skipped: " :
                                                                       " can be assigned%s only with ", together);
                print_worst(out, r, worst, n > 1);
        }
        (void) fputs(".", out);
}

static size_t count(const Group *controllers, size_t n, Obstacle from, Obstacle to) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                found += controllers[i].worst >= from && controllers[i].worst <= to;
        return found;
}

/* Several, each on its own: those that can be. */
static void print_verdict_of_each(FILE *out, const Report *r, const Group *controllers, size_t n) {
        size_t can = count(controllers, n, OBSTACLE_NONE, OBSTACLE_ACCEPTABLE), shown = 0;
        size_t unknown = count(controllers, n, OBSTACLE_UNKNOWN, OBSTACLE_UNKNOWN);

        if (can > 0)
                (void) fprintf(out, "%zu of %zu controllers can be assigned: ", can, n);
        else if (unknown == 0)
                (void) fprintf(out, "None of the %zu controllers can be assigned", n);
        else
                (void) fprintf(out, "None of the %zu controllers is known to be assignable", n);
        for (size_t i = 0; i < n; i++) {
                if (controllers[i].worst > OBSTACLE_ACCEPTABLE)
                        continue;
                (void) fprintf(out, "%s%s", shown++ ? ", " : "", controllers[i].items[0].subject);
                if (controllers[i].worst == OBSTACLE_NONE)
                        continue;
                (void) fputs(" (with ", out);
                report_reasons(out, r, &controllers[i], OBSTACLE_ACCEPTABLE, "--accept ", " ");
                (void) fputs(")", out);
        }
        if (unknown > 0)
                (void) fprintf(out, "; of %zu checks were skipped that have to pass", unknown);
        (void) fputs(".", out);
}

static const char *verdict_of(const Group *controllers, size_t n, bool together) {
        size_t can = count(controllers, n, OBSTACLE_NONE, OBSTACLE_NONE);
        size_t refused = count(controllers, n, OBSTACLE_REFUSED, OBSTACLE_REFUSED);

        if (can > 0 && (can == n || !together))
                return "pass";
        return refused == n || (together && refused > 0) ? "fail" : "warn";
}

static int print_verdict(FILE *out, const FindingsView *view, const Report *r) {
        const Group *controllers = r->groups + r->n_common;
        size_t n = r->n_groups - r->n_common, size;
        bool together = view->together || n == 1;
        _cleanup_free_ char *text = NULL;
        FILE *stream = open_memstream(&text, &size);

        if (!stream)
                return -ENOMEM;
        if (n == 0)
                (void) fputs("There is no storage controller.", stream);
        else if (together)
                print_verdict_of_all(stream, r, controllers, n);
        else
                print_verdict_of_each(stream, r, controllers, n);
        if (fclose(stream) != 0)
                return -ENOMEM;
        const char *color = view->color ? findings_color(verdict_of(controllers, n, together)) : "";
        (void) fputs(color, out);
        report_paragraph(out, view, 0, 0, text);
        (void) fputs(*color ? FINDINGS_PLAIN : "", out);
        return 0;
}

int findings_print(FILE *out, const json_t *result, const FindingsView *view) {
        _cleanup_report_ Report r = {};

        int ret = report_make(result, &r);
        if (ret < 0)
                return ret;
        size_t width = check_width(&r, view);
        for (size_t i = 0; i < r.n_groups; i++)
                print_group(out, view, &r.groups[i], width);
        report_alternatives(out, &r, view);
        return print_verdict(out, view, &r);
}
