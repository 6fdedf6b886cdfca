/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/macros.h"

/*
 * An error that a person will read. Fallible functions return 0 or -errno; where the cause is known they also set the
 * object, so that the message names the object, the reason and the remedy. On success it is left untouched.
 */
typedef struct Error {
        int code;      /* positive errno */
        char *name;    /* stable word for programs, e.g. "no-such-guest"; NULL when none applies */
        char *message; /* one sentence: what object, what happened */
        char *remedy;  /* what to do, or NULL */
} Error;

Error *error_free(Error *e);
DEFINE_CLEANUP(Error *, error_free)
#define _cleanup_error_ _cleanup_(error_freep)

/* Sets *e (when e is not NULL and nothing is set yet; the first cause stays) and returns -code, so that it can be returned.
 * code 0 is turned into EIO. Keeps errno. */
int error_set(Error **e, int code, const char *format, ...) _printf_(3, 4);
/* The same, with a stable name and a remedy; either may be NULL. */
int error_set_full(Error **e, int code, const char *name, const char *remedy, const char *format, ...) _printf_(5, 6);
/* Puts "PREFIX: " before the message. */
void error_prefix(Error *e, const char *format, ...) _printf_(2, 3);
int error_oom(Error **e);

/* {"code":N,"name":..,"message":..,"remedy":..}; new reference, NULL when out of memory. */
json_t *error_to_json(const Error *e);
/* The inverse; anything missing becomes a generic EPROTO message. Returns the negative code. */
int error_from_json(const json_t *j, Error **e);
