/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "model/finding.h"
#include "model/host.h"

/*
 * A plan is what will be done, in order, computed from a Host before anything is touched. Pure: no I/O, clock or logging.
 * `before` and `after` are in the step's own terms; NULL means none (no driver, no override, not there).
 */
typedef enum StepKind {
        STEP_HOLD,     /* subject: disk by serial or WWN; open exclusively and keep it over the unbind */
        STEP_FLUSH,    /* subject: disk; fsync, flush, second look for plain openers */
        STEP_OVERRIDE, /* subject: address; driver_override from before to after */
        STEP_UNBIND,   /* subject: address; from driver `before` to none */
        STEP_BIND,     /* subject: address; drivers_probe, from none to driver `after` */
        STEP_VERIFY,   /* subject: group; VFIO: viable, attach, open, map, unmap, close */
        STEP_STORE,    /* subject: address; assignment file, `after` is its JSON text */
        STEP_UNSTORE,  /* subject: address; `before` is its JSON text */
        STEP_ATTACH,   /* subject: guest; persistent definition gains the host device `address` */
        STEP_DETACH,   /* subject: guest; persistent definition loses it */
        STEP_PLUG,     /* subject: guest; the running guest gains it */
        STEP_UNPLUG,   /* subject: guest; the running guest is asked for it, and gives it back */
        _STEP_KIND_MAX,
} StepKind;

typedef struct Step {
        StepKind kind;
        char *subject;
        char *before, *after;
        PciAddress address;    /* the controller that the step is about (VERIFY: one of the group) */
        char *disk;            /* HOLD, FLUSH: kernel name at planning time; found again by subject when it differs */
        int group;             /* VERIFY */
} Step;

typedef enum PlanKind {
        PLAN_ASSIGN,
        PLAN_RELEASE,
        _PLAN_KIND_MAX,
} PlanKind;

typedef struct Plan {
        PlanKind kind;
        char *guest;           /* NULL: reserved for nobody yet is not possible; always set for ASSIGN and RELEASE */
        PciAddress *controllers;
        size_t n_controllers;
        bool forced;           /* RELEASE: a running guest loses the controller whatever it does with the disks */
        Step *steps;
        size_t n_steps;
        FindingList findings;  /* what the checks said (ASSIGN) */
        char **notes;          /* for people: "does not last over a reboot yet", memory pinned, ... */
        size_t n_notes;
} Plan;

typedef struct PlanRequest {
        PlanKind kind;
        PciAddress *controllers;
        size_t n_controllers;
        char *guest;           /* RELEASE: may be NULL when controllers are given; with none given, all of the guest's */
        char **accept;         /* check ids */
        size_t n_accept;
        bool no_attach;        /* reserve only: bind, store, but leave the guest's definition alone */
        bool force_unplug;
} PlanRequest;

void step_clear(Step *s);
Plan *plan_free(Plan *p);
DEFINE_CLEANUP(Plan *, plan_free)
void plan_request_clear(PlanRequest *q);
/* {kind, controllers, guest, accept, no_attach, force_unplug} */
json_t *plan_request_to_json(const PlanRequest *q);
int plan_request_from_json(const json_t *j, PlanRequest *ret, Error **e);

/* Computes the plan. Refusals are errors (EPERM-like code, name "refused") whose message names each failed check's object and
 * reason and whose remedy joins the remedies; *ret_findings, when not NULL, gets the findings either way. */
int plan_make(const Host *h, const PlanRequest *q, Plan **ret, FindingList *ret_findings, Error **e);

/* The guest's agent has to show that nothing uses the disks of the record; what it does not tell counts as in use. The Host
 * that g belongs to was read with PROBE_AGENTS. 0, or -EBUSY and which use it is ("used-by-guest", "unplug-unknown"). */
int plan_check_unused(const Guest *g, const Assigned *record, Error **e);

/* The step that undoes s; false when nothing is to be undone (hold, flush, verify). Fills ret with new strings. */
bool step_invert(const Step *s, Step *ret);
/* One line for people: "bind 0000:03:00.0 to vfio-pci". New string. */
char *step_describe(const Step *s);
/* Where Host shows the step's object: STEP_AT_BEFORE, STEP_AT_AFTER or neither (foreign). */
typedef enum StepState { STEP_AT_BEFORE, STEP_AT_AFTER, STEP_AT_NEITHER } StepState;
StepState step_state(const Step *s, const Host *h);
/* True for what lives in the kernel only and is gone after a reboot. */
bool step_is_volatile(const Step *s);

/* {kind, subject, before, after, undo} as `--dry-run --json` prints it, with "address", "disk" and "group" added so that
 * the journal can hold it; new reference. */
json_t *step_to_json(const Step *s);
int step_from_json(const json_t *j, Step *ret, Error **e);
/* {kind, guest, controllers, forced, steps, notes, digest}; new reference. */
json_t *plan_to_json(const Plan *p);
/* What the journal holds of a plan: all but the findings. Refuses what step_from_json refuses, and a wrong digest. */
int plan_from_json(const json_t *j, Plan **ret, Error **e);
/* Stable hexadecimal digest over kind, guest, controllers, forced and steps (FNV-1a 64 is enough: it guards against change, not
 * against an attacker, who cannot choose the Host). New string. */
char *plan_digest(const Plan *p);

const char *step_kind_to_string(StepKind k);
const char *plan_kind_to_string(PlanKind k);
