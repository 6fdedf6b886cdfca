/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and who uses them, as a tree: the chains "sdb1 → md0 → /srv" joined where they begin alike. */
#include <libsmartcols.h>

#include "output.h"

#define ARROW " → "

static struct libscols_line *child_line(struct libscols_table *t, struct libscols_line *parent, const char *text) {
        struct libscols_iter *iter = scols_new_iter(SCOLS_ITER_FORWARD);
        struct libscols_line *child = NULL, *found = NULL;

        while (iter && !found && scols_line_next_child(parent, iter, &child) == 0)
                if (str_equal(scols_cell_get_data(scols_line_get_cell(child, 0)), text))
                        found = child;
        scols_free_iter(iter);
        if (!found && (found = scols_table_new_line(t, parent)))
                (void) scols_line_set_data(found, 0, text);
        return found;
}

static void add_chain(struct libscols_table *t, struct libscols_line *disk, const char *name, const char *chain) {
        _cleanup_free_ char *copy = strdup(chain);
        struct libscols_line *line = disk;

        for (char *part = copy, *next; part && line; part = next) {
                next = strstr(part, ARROW);
                if (next) {
                        *next = 0;
                        next += strlen(ARROW);
                }
                if (line != disk || !str_equal(part, name))
                        line = child_line(t, line, part);
        }
}

void output_disks(const json_t *disks) {
        static const char *const columns[] = { "DISK", "SIZE", "SERIAL" };
        struct libscols_table *t = scols_new_table();
        size_t i, j;
        json_t *d, *user;

        for (i = 0; t && i < ELEMENTSOF(columns); i++)
                (void) scols_table_new_column(t, columns[i], 0, i == 0 ? SCOLS_FL_TREE : 0);
        json_array_foreach(disks, i, d) {
                _cleanup_free_ char *size = output_size(json_integer_value(json_object_get(d, "size")));
                struct libscols_line *line = t ? scols_table_new_line(t, NULL) : NULL;
                if (!line)
                        break;
                (void) scols_line_set_data(line, 0, output_text(d, "name"));
                (void) scols_line_set_data(line, 1, size ? size : "-");
                (void) scols_line_set_data(line, 2, output_text(d, "serial"));
                json_array_foreach(json_object_get(d, "users"), j, user)
                        add_chain(t, line, output_text(d, "name"), json_string_value(user));
        }
        output_table_print(t);
}
