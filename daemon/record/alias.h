/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdint.h>

#include "base/macros.h"

/*
 * What tells whose machine it is, and what stands for it in a recording: the same alias for the same value wherever it occurs,
 * of the same length and punctuation, so that what belongs together still does.
 */

typedef enum AliasKind {
        ALIAS_SERIAL,           /* of a disk or function, or a part of a longer name that is one */
        ALIAS_WWN,              /* "0x5000c500a1b2c3d4", "naa.…", "eui.…", "t10.VENDOR MODEL SERIAL" */
        ALIAS_UUID,             /* one that does not look like one: a FAT volume's */
        ALIAS_HOST,
} AliasKind;

typedef struct Aliases Aliases;

Aliases *aliases_new(bool raw); /* raw: nothing is replaced */
Aliases *aliases_free(Aliases *a);
DEFINE_CLEANUP(Aliases *, aliases_free)

/* Makes a value known; NULL and what is too short to be told from other text are passed over. 0 or -ENOMEM. */
int aliases_add(Aliases *a, AliasKind kind, const char *value);
/* The alias of a text that is nothing but a value, however short. */
int aliases_value(Aliases *a, AliasKind kind, const char *value, char **ret);
/* A copy of the text in which each known value, and what looks like a UUID, a MAC address, a WWN or a long random name, is
 * replaced. Host names are left alone in kernel paths (`path`), where they can only be something else. */
int aliases_text(Aliases *a, const char *text, size_t size, bool path, char **ret, size_t *ret_size);
/* For a PCIe serial number; never 0 or all ones. */
int aliases_number(Aliases *a, uint64_t value, uint64_t *ret);
size_t aliases_count(const Aliases *a);
