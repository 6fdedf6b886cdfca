/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"

/* Exit status: design of the command line, also in passthructl(1). */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

typedef struct Arguments {
        bool json, yes, dry_run, no_attach, force_unplug, raw;
        bool verbose;          /* -v */
        const char *host;      /* -H */
        const char *guest;     /* --guest */
        const char *sysroot;
        char **accept;         /* into argv; n_accept of them */
        size_t n_accept;
        char **words;          /* positional arguments after the verb */
        size_t n_words;
} Arguments;

/* Each verb returns an exit status, or a negative errno with *e set. */
int verb_list(const Arguments *a, Error **e);
int verb_show(const Arguments *a, Error **e);
int verb_preflight(const Arguments *a, Error **e);
int verb_assign(const Arguments *a, Error **e);
int verb_release(const Arguments *a, Error **e);
int verb_status(const Arguments *a, Error **e);
int verb_monitor(const Arguments *a, Error **e);
int verb_record(const Arguments *a, Error **e);

/* A malformed argument: error with the name "usage", exit status 2. */
int usage_error(Error **e, const char *format, ...) _printf_(2, 3);
/* The first n words must be PCI addresses. */
int check_addresses(char **words, size_t n, Error **e);
