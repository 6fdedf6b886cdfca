/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal that somebody or something has spoilt. */
/* covers: daemon/apply/journal-parse.c */
/* covers: daemon/plan/json.c bad has_only name_ok plan_text_ok read_* subject_ok values_ok step_fill step_from_json plan_fill plan_from_json */
#include "apply/journal.h"
#include "fuzz.h"

/* The digest of a plan of steps alone; NULL when they are refused. */
static char *digest_of(const json_t *steps) {
        Plan *p = calloc(1, sizeof *p);
        char *digest = NULL;

        assert(p);
        p->steps = calloc(json_array_size(steps) + 1, sizeof *p->steps);
        while (p->n_steps < json_array_size(steps) && step_from_json(json_array_get(steps, p->n_steps), &p->steps[p->n_steps], NULL) >= 0)
                p->n_steps++;
        if (p->n_steps == json_array_size(steps))
                digest = plan_digest(p);
        plan_free(p);
        return digest;
}

/* A first line whose plan says "digest":"right" gets the right one, which no fuzzer guesses; NULL when it does not. */
static char *with_digest(const char *text) {
        _cleanup_json_ json_t *line = json_loadb(text, strcspn(text, "\n"), 0, NULL);
        json_t *plan = json_object_get(line, "plan");
        const char *word = json_string_value(json_object_get(plan, "digest"));
        _cleanup_free_ char *digest = word && strcmp(word, "right") == 0 ? digest_of(json_object_get(plan, "steps")) : NULL, *first = NULL;
        char *whole = NULL;

        if (!digest || json_object_set_new(plan, "digest", json_string(digest)) < 0 || !(first = json_dumps(line, JSON_COMPACT)))
                return NULL;
        return asprintf(&whole, "%s%s", first, text + strcspn(text, "\n")) < 0 ? NULL : whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(transaction_freep) Transaction *t = NULL;
        _cleanup_free_ char *text = fuzz_text(data, size), *whole = with_digest(text);
        _cleanup_error_ Error *e = NULL;
        size_t length = whole ? strlen(whole) : size, end = 0;

        int r = journal_parse(whole ? whole : text, length, &t, &end, &e);
        assert(r < 0 ? e && e->message && !t : end <= length);
        return 0;
}
