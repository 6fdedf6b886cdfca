/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "cli.h"

/* What people see. Everything is made from the same JSON that --json prints. */

void output_error(const Error *e, int code, bool json);
void output_json(const json_t *j);
/* "3.6T"; newly allocated */
char *output_size(json_int_t bytes);
/* A member as text, "-" when null. */
const char *output_text(const json_t *object, const char *key);

/* A table by libsmartcols: columns and then rows, each cell copied. */
struct libscols_table;
struct libscols_table *output_table(const char *const *columns, size_t n);
int output_row(struct libscols_table *t, const char *const *cells, size_t n);
void output_table_print(struct libscols_table *t);

/* What `preflight` found, for the terminal that standard output is, if it is one; see findings.h. */
int output_findings(const json_t *result, bool verbose, bool together);
/* The steps as a table, and the notes. */
void output_plan(const json_t *plan);
void output_notes(const json_t *plan);
/* Disks with what uses them as a tree. */
void output_disks(const json_t *disks);
