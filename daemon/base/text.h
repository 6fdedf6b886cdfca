/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/macros.h"

/* Makes text that came from a guest, a disk, a process or a path fit to be shown on a terminal and put into JSON: control
 * characters and what is no UTF-8 become '?'. In place; s may be NULL. */
void text_clean(char *s);
/* A line goes on after a backslash at its end. In place. */
void text_join_lines(char *text);
