/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "findings.h"
#include "model/finding.h"
#include "model/pci-address.h"

/* Findings sorted for people; inside the output of `preflight` only. Everything borrows from the JSON. */

/* What a finding means for an assignment, as check_allows has it; in order of badness. */
typedef enum Obstacle {
        OBSTACLE_NONE,
        OBSTACLE_ACCEPTABLE, /* goes with --accept */
        OBSTACLE_UNKNOWN,    /* a check that must pass was skipped */
        OBSTACLE_REFUSED,
} Obstacle;

typedef struct Item {
        const json_t *finding;
        const char *check, *subject; /* subject: NULL the host */
        bool is_controller;          /* the subject is one, at address */
        PciAddress address;
        int verdict;
        Obstacle obstacle;
        size_t index;                /* as it came */
} Item;

/* The items of one subject. */
typedef struct Group {
        const Item *items;
        size_t n;
        Obstacle worst; /* a controller's: of what is about the host and the guest, too */
} Group;

typedef struct Report {
        Item *items;
        size_t n;
        Group *groups;
        size_t n_groups;
        size_t n_common; /* the first groups are about the host and the guest, the others about a controller each */
        Obstacle common; /* the worst of those */
} Report;

/* 0 or -ENOMEM */
int report_make(const json_t *result, Report *ret);
void report_clear(Report *r);
#define _cleanup_report_ _cleanup_(report_clear)

/* The checks that stand in a controller's way with this obstacle, each once, with `before` in front of it and `between` between
 * them: "host-disk-use, group-isolated". */
void report_reasons(FILE *out, const Report *r, const Group *g, Obstacle o, const char *before, const char *between);
/* A paragraph: words broken at the terminal's width, from the second line on at column `indent`. `column` is where the first line
 * stands. Control characters become "?". */
void report_paragraph(FILE *out, const FindingsView *view, size_t column, size_t indent, const char *text);
/* What is possible when no controller can be assigned, from what stands in the way. */
void report_alternatives(FILE *out, const Report *r, const FindingsView *view);
