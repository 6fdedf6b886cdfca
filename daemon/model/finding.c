/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/finding.h"

#include <errno.h>
#include <stdarg.h>

#include "base/text.h"

static const char *const check_kind_table[_CHECK_KIND_MAX] = {
        [CHECK_HARD] = "hard",
        [CHECK_IMPOSSIBLE] = "impossible",
        [CHECK_ACCEPTABLE] = "acceptable",
};

const char *check_kind_to_string(CheckKind k) {
        return k < _CHECK_KIND_MAX ? check_kind_table[k] : NULL;
}

static const char *const verdict_table[_VERDICT_MAX] = {
        [VERDICT_SKIP] = "skip",
        [VERDICT_PASS] = "pass",
        [VERDICT_INFO] = "info",
        [VERDICT_WARN] = "warn",
        [VERDICT_FAIL] = "fail",
};

const char *verdict_to_string(Verdict v) {
        return v < _VERDICT_MAX ? verdict_table[v] : NULL;
}

int verdict_from_string(const char *s) {
        for (int v = 0; v < (int) _VERDICT_MAX; v++)
                if (str_equal(verdict_table[v], s))
                        return v;
        return -EINVAL;
}

static void finding_clear(Finding *f) {
        free(f->subject);
        free(f->message);
        for (size_t i = 0; i < f->n_evidence; i++)
                free(f->evidence[i]);
        free(f->evidence);
        free(f->remedy);
}

void finding_list_clear(FindingList *l) {
        for (size_t i = 0; i < l->n; i++)
                finding_clear(&l->items[i]);
        free(l->items);
        *l = (FindingList) {};
}

Finding *finding_add(FindingList *l, const char *check, CheckKind kind, Verdict v, const char *subject, const char *format, ...) {
        Finding f = { .check = check, .kind = kind, .verdict = v };
        va_list ap;

        Finding *items = reallocarray(l->items, l->n + 1, sizeof *items);
        if (!items)
                return NULL;
        l->items = items;
        va_start(ap, format);
        int r = vasprintf(&f.message, format, ap);
        va_end(ap);
        if (r < 0)
                return NULL;
        text_clean(f.message);
        if (subject && !(f.subject = strdup(subject))) {
                free(f.message);
                return NULL;
        }
        text_clean(f.subject);
        l->items[l->n] = f;
        return &l->items[l->n++];
}

int finding_evidence(Finding *f, const char *format, ...) {
        va_list ap;
        char *line;

        if (!f)
                return -ENOMEM;
        char **lines = reallocarray(f->evidence, f->n_evidence + 1, sizeof *lines);
        if (!lines)
                return -ENOMEM;
        f->evidence = lines;
        va_start(ap, format);
        int r = vasprintf(&line, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        text_clean(line);
        f->evidence[f->n_evidence++] = line;
        return 0;
}

int finding_remedy(Finding *f, const char *format, ...) {
        va_list ap;
        char *text;

        if (!f)
                return -ENOMEM;
        va_start(ap, format);
        int r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        free(f->remedy);
        f->remedy = text;
        return 0;
}

Verdict finding_list_verdict(const FindingList *l) {
        Verdict worst = VERDICT_PASS;

        for (size_t i = 0; i < l->n; i++)
                if (l->items[i].verdict > worst)
                        worst = l->items[i].verdict;
        return worst;
}

json_t *finding_to_json(const Finding *f) {
        _cleanup_json_ json_t *evidence = json_array();

        for (size_t i = 0; i < f->n_evidence; i++)
                if (json_array_append_new(evidence, json_string(f->evidence[i])) < 0)
                        return NULL;
        return json_pack("{s:s, s:s, s:s, s:s?, s:s, s:O, s:s?}", "check", f->check, "kind", check_kind_to_string(f->kind),
                         "verdict", verdict_to_string(f->verdict), "subject", f->subject, "message", f->message, "evidence",
                         evidence, "remedy", f->remedy);
}

json_t *finding_list_to_json(const FindingList *l) {
        _cleanup_json_ json_t *findings = json_array();

        for (size_t i = 0; i < l->n; i++)
                if (json_array_append_new(findings, finding_to_json(&l->items[i])) < 0)
                        return NULL;
        return json_pack("{s:s, s:O}", "verdict", verdict_to_string(finding_list_verdict(l)), "findings", findings);
}
