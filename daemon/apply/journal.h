/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "plan/plan.h"

/*
 * Append-only record of transactions, one JSON object a line, synced before and after each step:
 *   {"version":1,"type":"begin","tx":"…","boot":"…","plan":{…}}   {"type":"start","tx":"…","step":N}
 *   {"type":"done","tx":"…","step":N}   {"type":"undone","tx":"…","step":N}
 *   {"type":"commit","tx":"…"}   {"type":"abort","tx":"…","message":…}
 * A torn last line (no newline) is dropped; any other bad line, or an unknown version, stops with a message and the file is
 * left alone. The opener holds an exclusive flock(2) for life: whoever has it is the only one that changes the host.
 */
typedef struct Journal Journal;

typedef enum StepProgress { STEP_NOT_STARTED, STEP_STARTED, STEP_DONE, STEP_UNDONE } StepProgress;

typedef struct Transaction {
        char *id, *boot_id;
        Plan *plan;
        StepProgress *progress; /* one for each step of the plan */
} Transaction;

Transaction *transaction_free(Transaction *t);
DEFINE_CLEANUP(Transaction *, transaction_free)

/* dir: fd of /var/lib/passthru. Waits up to timeout_ms for the lock (-1: forever); -EAGAIN with a message that names the
 * holder's pid when it is not to be had. */
int journal_open(int dir, int timeout_ms, Journal **ret, Error **e);
Journal *journal_close(Journal *j);
DEFINE_CLEANUP(Journal *, journal_close)
/* The transaction without a commit or abort record, or NULL in *ret. Pure parse of the text for tests. */
int journal_open_transaction(Journal *j, Transaction **ret, Error **e);
int journal_parse(const char *text, size_t size, Transaction **ret, size_t *ret_whole, Error **e);

/* Each writes one record and syncs; an error fails the step. */
int journal_begin(Journal *j, const Plan *p, const char *boot_id, Transaction **ret, Error **e);
int journal_start(Journal *j, Transaction *t, size_t step, Error **e);
int journal_done(Journal *j, Transaction *t, size_t step, Error **e);
int journal_undone(Journal *j, Transaction *t, size_t step, Error **e);
int journal_commit(Journal *j, Transaction *t, Error **e);
int journal_abort(Journal *j, Transaction *t, const char *message, Error **e);
