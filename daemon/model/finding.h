/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"

/* Why a failed check stops an assignment. */
typedef enum CheckKind {
        CHECK_HARD,       /* data or the host would be lost: never overridden */
        CHECK_IMPOSSIBLE, /* it cannot work */
        CHECK_ACCEPTABLE, /* the user may accept it with --accept, which is logged */
        _CHECK_KIND_MAX,
} CheckKind;

/* In order of badness, so that the worst of many is their maximum. */
typedef enum Verdict {
        VERDICT_SKIP,
        VERDICT_PASS,
        VERDICT_INFO,
        VERDICT_WARN,
        VERDICT_FAIL,
        _VERDICT_MAX,
} Verdict;

typedef struct Finding {
        const char *check; /* id, static */
        CheckKind kind;
        Verdict verdict;
        char *subject;     /* controller's address, guest's name, or NULL for the host */
        char *message;     /* one line: object and reason */
        char **evidence;   /* lines that the user can verify */
        size_t n_evidence;
        char *remedy;      /* what to do; NULL on pass */
} Finding;

typedef struct FindingList {
        Finding *items;
        size_t n;
} FindingList;

void finding_list_clear(FindingList *l);
#define _cleanup_findings_ _cleanup_(finding_list_clear)

/* Adds a finding and returns it for evidence and remedy; NULL when out of memory. subject may be NULL. */
Finding *finding_add(FindingList *l, const char *check, CheckKind kind, Verdict v, const char *subject, const char *format, ...)
        _printf_(6, 7);
int finding_evidence(Finding *f, const char *format, ...) _printf_(2, 3);
int finding_remedy(Finding *f, const char *format, ...) _printf_(2, 3);

/* Worst verdict; VERDICT_PASS when all passed or were skipped. */
Verdict finding_list_verdict(const FindingList *l);
/* {check, kind, verdict, subject, message, evidence, remedy}; new reference. */
json_t *finding_to_json(const Finding *f);
/* {verdict, findings:[...]} as `preflight --json` prints it; new reference. */
json_t *finding_list_to_json(const FindingList *l);

const char *check_kind_to_string(CheckKind k);
const char *verdict_to_string(Verdict v);
/* -EINVAL when it is none. */
int verdict_from_string(const char *s);
