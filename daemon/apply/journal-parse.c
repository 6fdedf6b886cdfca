/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the lines of the journal say, judged strictly: a line that does not follow from those before it stops everything,
 * as nobody knows then what was done to the host. */
#include "apply/journal.h"

#include <errno.h>

#define JOURNAL_VERSION 1
#define REMEDY "Look at the file. When the host is as it should be, move the file away and restart passthrud."

Transaction *transaction_free(Transaction *t) {
        if (!t)
                return NULL;
        (void) plan_free(t->plan);
        free(t->progress);
        free(t->boot_id);
        free(t->id);
        free(t);
        return NULL;
}

/* The reader between two lines. */
typedef struct Reader {
        Transaction *open;
        size_t line;
} Reader;

static void reader_clear(Reader *r) {
        r->open = transaction_free(r->open);
}

static int bad(const Reader *r, const char *why, Error **e) {
        return error_set_full(e, EBADMSG, "journal", REMEDY, "line %zu: %s", r->line, why);
}

static const char *member(const json_t *j, const char *key) {
        return json_string_value(json_object_get(j, key));
}

/* -- begin ------------------------------------------------------------------------------------------------------------- */

static int read_version(const Reader *r, const json_t *j, Error **e) {
        const json_t *version = json_object_get(j, "version");

        if (!json_is_integer(version))
                return bad(r, "a begin without a version", e);
        if (json_integer_value(version) != JOURNAL_VERSION)
                return error_set_full(e, EPROTONOSUPPORT, "journal-version", "Use the version of passthru that wrote it.",
                                      "line %zu: version %lld is not known, only version %d is", r->line,
                                      (long long) json_integer_value(version), JOURNAL_VERSION);
        return 0;
}

static int read_plan(const Reader *r, const json_t *j, Transaction *t, Error **e) {
        _cleanup_error_ Error *why = NULL;

        int s = plan_from_json(json_object_get(j, "plan"), &t->plan, &why);
        if (s == -ENOMEM)
                return error_oom(e);
        if (s < 0)
                return bad(r, why && why->message ? why->message : "a plan that cannot be read", e);
        t->progress = calloc(t->plan->n_steps + 1, sizeof *t->progress);
        return t->progress ? 0 : error_oom(e);
}

static int read_begin(Reader *r, const json_t *j, Error **e) {
        _cleanup_(transaction_freep) Transaction *t = calloc(1, sizeof *t);
        const json_t *boot = json_object_get(j, "boot");
        const char *id = member(j, "tx");
        int s;

        if (!t)
                return error_oom(e);
        if (r->open)
                return bad(r, "a begin within another transaction", e);
        if ((s = read_version(r, j, e)) < 0)
                return s;
        if (!id || !*id || (boot && !json_is_null(boot) && !json_is_string(boot)))
                return bad(r, "a begin without usable names of the transaction and the boot", e);
        if ((s = read_plan(r, j, t, e)) < 0)
                return s;
        t->id = strdup(id);
        t->boot_id = json_is_string(boot) ? strdup(json_string_value(boot)) : NULL;
        if (!t->id || (json_is_string(boot) && !t->boot_id))
                return error_oom(e);
        r->open = TAKE_PTR(t);
        return 0;
}

/* -- the rest ---------------------------------------------------------------------------------------------------------- */

static bool may_follow(StepProgress was, StepProgress is) {
        switch (is) {
        case STEP_STARTED:
                return was == STEP_NOT_STARTED;
        case STEP_DONE:
                return was == STEP_STARTED;
        case STEP_UNDONE:
                return was == STEP_STARTED || was == STEP_DONE;
        default:
                return false;
        }
}

static int read_progress(Reader *r, const json_t *j, StepProgress is, Error **e) {
        const json_t *step = json_object_get(j, "step");
        json_int_t n = json_integer_value(step);

        if (!json_is_integer(step) || n < 0 || (size_t) n >= r->open->plan->n_steps)
                return bad(r, "a step that the plan does not have", e);
        if (!may_follow(r->open->progress[n], is))
                return bad(r, "a step that does not follow from the lines before", e);
        r->open->progress[n] = is;
        return 0;
}

static int read_record(Reader *r, const json_t *j, Error **e) {
        const char *type = member(j, "type");

        if (!type)
                return bad(r, "a record without a type", e);
        if (str_equal(type, "begin"))
                return read_begin(r, j, e);
        if (!r->open || !str_equal(member(j, "tx"), r->open->id))
                return bad(r, "a record of a transaction that is not open", e);
        if (str_equal(type, "start"))
                return read_progress(r, j, STEP_STARTED, e);
        if (str_equal(type, "done"))
                return read_progress(r, j, STEP_DONE, e);
        if (str_equal(type, "undone"))
                return read_progress(r, j, STEP_UNDONE, e);
        if (!str_equal(type, "commit") && !str_equal(type, "abort"))
                return bad(r, "a record of an unknown type", e);
        r->open = transaction_free(r->open);
        return 0;
}

static int read_line(Reader *r, const char *text, size_t size, Error **e) {
        _cleanup_json_ json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);

        r->line++;
        if (!json_is_object(j))
                return bad(r, "no JSON object", e);
        return read_record(r, j, e);
}

int journal_parse(const char *text, size_t size, Transaction **ret, size_t *ret_whole, Error **e) {
        _cleanup_(reader_clear) Reader r = {};
        size_t at = 0;

        for (;;) {
                const char *newline = at < size ? memchr(text + at, '\n', size - at) : NULL;
                if (!newline)
                        break; /* nothing, or a line whose writing was interrupted: nobody went on relying on it */
                int s = read_line(&r, text + at, (size_t) (newline - (text + at)), e);
                if (s < 0)
                        return s;
                at = (size_t) (newline - text) + 1;
        }
        *ret = TAKE_PTR(r.open);
        if (ret_whole)
                *ret_whole = at;
        return 0;
}
