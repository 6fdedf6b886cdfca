/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/macros.h"

/* The answer of `preflight` for people, made from the JSON that --json prints. */

typedef struct FindingsView {
        unsigned width; /* of the terminal in columns; 0: lines are not broken */
        bool color;
        bool verbose;   /* names the checks that passed instead of counting them */
        bool together;  /* the controllers were judged as if they went to the guest together */
} FindingsView;

/* First what is about the host, then what is about the guest, then each controller; in each the worst first. The last line is the
 * verdict in words, and before it, when no controller can be assigned, is what is possible instead. 0 or -ENOMEM. */
int findings_print(FILE *out, const json_t *result, const FindingsView *view);

/* The colour of a verdict on a terminal, "" for none. */
const char *findings_color(const char *verdict);
#define FINDINGS_PLAIN "\033[0m"
