/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "output.h"

#include <libsmartcols.h>
#include <sys/ioctl.h>

#include "findings.h"

void output_json(const json_t *j) {
        (void) json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        (void) putchar('\n');
}

void output_error(const Error *e, int code, bool json) {
        if (json && e) {
                _cleanup_json_ json_t *j = json_pack("{s:{s:s?, s:s?, s:s?}}", "error", "name", e->name, "message", e->message,
                                                     "remedy", e->remedy);
                (void) json_dumpf(j, stderr, JSON_INDENT(2));
                (void) fputc('\n', stderr);
                return;
        }
        fprintf(stderr, "passthructl: %s\n", e && e->message ? e->message : strerror(-code));
        if (e && e->remedy)
                fprintf(stderr, "  %s\n", e->remedy);
}

char *output_size(json_int_t bytes) {
        static const char units[] = "BKMGTPE";
        double size = (double) bytes;
        size_t unit = 0;
        char *text;

        while (size >= 1024 && unit + 2 < sizeof units) {
                size /= 1024;
                unit++;
        }
        return asprintf(&text, size < 10 && unit > 0 ? "%.1f%c" : "%.0f%c", size, units[unit]) < 0 ? NULL : text;
}

static bool use_color(void) {
        const char *no = getenv("NO_COLOR");

        return isatty(STDOUT_FILENO) && !(no && *no);
}

static unsigned terminal_width(void) {
        struct winsize size;

        if (!isatty(STDOUT_FILENO))
                return 0;
        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

const char *output_text(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text && *text ? text : "-";
}

struct libscols_table *output_table(const char *const *columns, size_t n) {
        scols_init_debug(0);
        struct libscols_table *t = scols_new_table();

        for (size_t i = 0; t && i < n; i++)
                (void) scols_table_new_column(t, columns[i], 0, 0);
        return t;
}

int output_row(struct libscols_table *t, const char *const *cells, size_t n) {
        struct libscols_line *line = t ? scols_table_new_line(t, NULL) : NULL;
        int r = line ? 0 : -1;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = scols_line_set_data(line, i, cells[i] ? cells[i] : "-");
        return r;
}

void output_table_print(struct libscols_table *t) {
        if (!t)
                return;
        (void) scols_print_table(t);
        scols_unref_table(t);
}

int output_findings(const json_t *result, bool verbose, bool together) {
        const FindingsView view = { .width = terminal_width(), .color = use_color(), .verbose = verbose, .together = together };

        return findings_print(stdout, result, &view);
}

/* -- plans --------------------------------------------------------------------------------------------------------------- */

void output_notes(const json_t *plan) {
        size_t i;
        json_t *note;

        json_array_foreach(json_object_get(plan, "notes"), i, note)
                printf("Note: %s\n", json_string_value(note));
}

void output_plan(const json_t *plan) {
        static const char *const columns[] = { "STEP", "WHAT", "SUBJECT", "FROM", "TO", "UNDONE BY" };
        struct libscols_table *t = output_table(columns, ELEMENTSOF(columns));
        size_t i;
        json_t *step;

        json_array_foreach(json_object_get(plan, "steps"), i, step) {
                char number[24];
                const char *kind = output_text(step, "kind");
                /* The text of a whole assignment file would fill the screen. */
                bool file = str_equal(kind, "store") || str_equal(kind, "unstore");
                (void) snprintf(number, sizeof number, "%zu", i + 1);
                const char *cells[] = { number, kind, output_text(step, "subject"), file ? "-" : output_text(step, "before"),
                                        file ? "/etc/passthru" : output_text(step, "after"), output_text(step, "undo") };
                (void) output_row(t, cells, ELEMENTSOF(cells));
        }
        output_table_print(t);
        output_notes(plan);
}
