/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "apply/journal.h"

/* The only code that changes the host. Runs in the worker process, with the journal's lock held. */

/* Called before each step (and each undone step) with its number from 0, the total and a line for people. */
typedef void (*ApplyProgress)(void *userdata, size_t step, size_t total, const char *text);
/* Asked between the steps, and in those that wait for a guest: true stops the plan, and what was done is undone. */
typedef bool (*ApplyCancelled)(void);

/* Carries out the plan under one transaction. When a step fails the steps before are undone in reverse order, the
 * transaction is aborted and the error is the step's own, its message ending with what was undone or could not be. Plugging into a running
 * guest comes after the commit: when it fails ("not-plugged") the assignment stays. */
int apply_plan(Journal *j, const Host *h, const Plan *p, ApplyProgress progress, ApplyCancelled cancelled, void *userdata,
               Error **e);

typedef struct Recovery {
        bool needed;      /* an open transaction was found */
        char *transaction;
        char *message;    /* what was done, for people; includes foreign state left alone */
        bool complete;    /* nothing is left between before and after */
} Recovery;
void recovery_clear(Recovery *r);

/* Undoes the open transaction, if any. Idempotent when itself interrupted. Host is read inside. */
int apply_recover(Journal *j, Recovery *ret, Error **e);

/* Pure: which inverse steps bring h back, in order. Steps whose state is neither before nor after are named in *ret_foreign
 * (one string, NULL when none). Another boot id than the transaction's voids the volatile steps. */
int recovery_steps(const Transaction *t, const Host *h, Step **ret_steps, size_t **ret_origin, size_t *ret_n,
                   char **ret_foreign, Error **e);
