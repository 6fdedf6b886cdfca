/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/finding.h"
#include "model/host.h"

/* Pure functions of Host: no I/O, clock or logging. */

typedef struct CheckRequest {
        const PciAddress *controllers; /* judged as if all of them went to the guest together */
        size_t n_controllers;
        const char *guest;             /* NULL: none named */
} CheckRequest;

typedef enum CheckScope {
        CHECK_SCOPE_HOST,       /* run once, subject null */
        CHECK_SCOPE_GUEST,      /* run once when the request names a guest, which is the subject */
        CHECK_SCOPE_CONTROLLER, /* run for each controller of the request */
} CheckScope;

typedef struct Check {
        const char *id; /* "family-name", stable */
        CheckKind kind;
        CheckScope scope;
        const char *summary; /* what passes when it passes; one line for `preflight` */
        /* f is NULL but for CHECK_SCOPE_CONTROLLER. Adds at least one finding (a pass or a skip too), or none when it is about a
         * guest and none is named. 0 or -ENOMEM. */
        int (*run)(const struct Check *c, const Host *h, const CheckRequest *q, const PciFunction *f, FindingList *l);
} Check;

/* The registry, in the order in which findings are shown. */
extern const Check *const checks[];
extern const size_t n_checks;
const Check *check_find(const char *id);

/* Runs every check. Every address of the request must be a function of h. */
int check_run(const Host *h, const CheckRequest *q, FindingList *l, Error **e);
/* `preflight` without addresses: each storage controller on its own; with addresses: these together. Unknown addresses,
 * NICs and bridges are errors that name the object, the reason and the remedy (names: "no-such-device",
 * "not-a-controller"). */
int check_preflight(const Host *h, const PciAddress *addresses, size_t n, const char *guest, FindingList *l, Error **e);
/* 0 when `a` is a storage controller of h, else the errors above. */
int check_address(const Host *h, const PciAddress *a, const PciFunction **ret, Error **e);
/* True when nothing stands in the way: failed hard and impossible checks always do, and skipped ones (what is not known to be
 * safe is not done); failed acceptable ones unless in `accept`. */
bool check_allows(const FindingList *l, char *const *accept, size_t n_accept);
