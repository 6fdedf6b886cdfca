/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests, steps and plans as JSON. What is read may have been written by anybody, so each part is checked. */
#include <limits.h>

#include "plan/make.h"

static json_t *addresses_to_json(const PciAddress *a, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(array, json_string(PCI_ADDRESS_STR(&a[i])));
        return array;
}

static json_t *strings_to_json(char *const *strings, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(array, json_string(strings[i]));
        return array;
}

static int bad(Error **e, const char *what, const char *key) {
        return error_set(e, EINVAL, "a %s without a usable \"%s\"", what, key);
}

static bool has_only(const json_t *j, const char *const *keys, size_t n) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) j, key, value) {
                size_t i = 0;
                while (i < n && !str_equal(keys[i], key))
                        i++;
                if (i == n)
                        return false;
        }
        return true;
}

bool plan_text_ok(const char *s) {
        size_t length = s ? strlen(s) : 0;

        if (length == 0 || length > PLAN_STRING_MAX)
                return false;
        for (size_t i = 0; i < length; i++)
                if ((unsigned char) s[i] < 0x20 || s[i] == 0x7f)
                        return false;
        _cleanup_json_ json_t *j = json_string(s); /* NULL: not UTF-8 */
        return j;
}

/* One component of a path in sysfs or /dev. */
static bool name_ok(const char *s) {
        return plan_text_ok(s) && strlen(s) <= NAME_MAX && !strchr(s, '/') && !str_equal(s, ".") && !str_equal(s, "..");
}

/* A string or null; missing and any other type are refused. */
static int read_nullable(const json_t *j, const char *what, const char *key, char **ret, Error **e) {
        const json_t *value = json_object_get(j, key);

        if (json_is_null(value))
                return 0;
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
                return bad(e, what, key);
        *ret = strdup(json_string_value(value));
        return *ret ? 0 : error_oom(e);
}

static int read_addresses(const json_t *j, const char *what, PciAddress **ret, size_t *ret_n, Error **e) {
        const json_t *array = json_object_get(j, "controllers");
        size_t n = json_array_size(array);

        if (!json_is_array(array) || n > PLAN_STRING_MAX)
                return bad(e, what, "controllers");
        _cleanup_free_ PciAddress *addresses = calloc(n + 1, sizeof *addresses);
        if (!addresses)
                return error_oom(e);
        for (size_t i = 0; i < n; i++) {
                const char *text = json_string_value(json_array_get(array, i));
                if (!text || pci_address_parse(text, &addresses[i]) < 0)
                        return bad(e, what, "controllers");
        }
        *ret = TAKE_PTR(addresses);
        *ret_n = n;
        return 0;
}

static int read_strings(const json_t *j, const char *what, const char *key, char ***ret, size_t *ret_n, Error **e) {
        const json_t *array = json_object_get(j, key);
        size_t n = json_array_size(array);

        if (!json_is_array(array) || n > PLAN_STRING_MAX)
                return bad(e, what, key);
        *ret = calloc(n + 1, sizeof **ret);
        if (!*ret)
                return error_oom(e);
        for (size_t i = 0; i < n; i++) {
                const char *text = json_string_value(json_array_get(array, i));
                if (!plan_text_ok(text))
                        return bad(e, what, key);
                if (!((*ret)[i] = strdup(text)))
                        return error_oom(e);
                *ret_n = i + 1;
        }
        return 0;
}

static int read_kind(const json_t *j, const char *what, PlanKind *ret, Error **e) {
        const char *text = json_string_value(json_object_get(j, "kind"));

        for (PlanKind k = 0; k < _PLAN_KIND_MAX; k++)
                if (str_equal(text, plan_kind_to_string(k))) {
                        *ret = k;
                        return 0;
                }
        return bad(e, what, "kind");
}

/* -- requests ---------------------------------------------------------------------------------------------------------- */

json_t *plan_request_to_json(const PlanRequest *q) {
        return json_pack("{s:s, s:o, s:s?, s:o, s:b, s:b}", "kind", plan_kind_to_string(q->kind), "controllers",
                         addresses_to_json(q->controllers, q->n_controllers), "guest", q->guest, "accept",
                         strings_to_json(q->accept, q->n_accept), "no_attach", q->no_attach, "force_unplug", q->force_unplug);
}

static int read_bool(const json_t *j, const char *what, const char *key, bool *ret, Error **e) {
        const json_t *value = json_object_get(j, key);

        if (!json_is_boolean(value))
                return bad(e, what, key);
        *ret = json_is_true(value);
        return 0;
}

static int request_fill(const json_t *j, PlanRequest *q, Error **e) {
        static const char *const keys[] = { "kind", "controllers", "guest", "accept", "no_attach", "force_unplug" };
        int r;

        if (!json_is_object(j) || !has_only(j, keys, ELEMENTSOF(keys)))
                return error_set(e, EINVAL, "a request with unknown members, or none at all");
        if ((r = read_kind(j, "request", &q->kind, e)) < 0 ||
            (r = read_addresses(j, "request", &q->controllers, &q->n_controllers, e)) < 0 ||
            (r = read_nullable(j, "request", "guest", &q->guest, e)) < 0 ||
            (r = read_strings(j, "request", "accept", &q->accept, &q->n_accept, e)) < 0 ||
            (r = read_bool(j, "request", "no_attach", &q->no_attach, e)) < 0 ||
            (r = read_bool(j, "request", "force_unplug", &q->force_unplug, e)) < 0)
                return r;
        return q->guest && !plan_text_ok(q->guest) ? bad(e, "request", "guest") : 0;
}

int plan_request_from_json(const json_t *j, PlanRequest *ret, Error **e) {
        PlanRequest q = {};
        int r = request_fill(j, &q, e);

        if (r < 0) {
                plan_request_clear(&q);
                return r;
        }
        *ret = q;
        return 0;
}

/* -- steps ------------------------------------------------------------------------------------------------------------- */

json_t *step_to_json(const Step *s) {
        _cleanup_free_ char *undo = NULL;
        Step inverse = {};

        if (step_invert(s, &inverse)) {
                undo = step_describe(&inverse);
                step_clear(&inverse);
        }
        return json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s, s:s?, s:i}", "kind", step_kind_to_string(s->kind), "subject",
                         s->subject, "before", s->before, "after", s->after, "undo", undo, "address",
                         PCI_ADDRESS_STR(&s->address), "disk", s->disk, "group", s->group);
}

static int read_step_kind(const json_t *j, StepKind *ret, Error **e) {
        const char *text = json_string_value(json_object_get(j, "kind"));

        for (StepKind k = 0; k < _STEP_KIND_MAX; k++)
                if (str_equal(text, step_kind_to_string(k))) {
                        *ret = k;
                        return 0;
                }
        return bad(e, "step", "kind");
}

/* What each kind needs: its strings end up in paths, in sysfs attributes and in the store. */
static bool values_ok(const Step *s) {
        const char *b = s->before, *a = s->after;

        switch (s->kind) {
        case STEP_HOLD:
        case STEP_FLUSH:
                return !b && !a && name_ok(s->disk);
        case STEP_OVERRIDE:
                return (!b || name_ok(b)) && (!a || name_ok(a)) && !str_equal(a, b);
        case STEP_UNBIND:
                return name_ok(b) && !a;
        case STEP_BIND:
                return !b && a && (!*a || name_ok(a));
        case STEP_VERIFY:
                return !b && !a && s->group >= 0;
        case STEP_STORE:
                return a != NULL;
        case STEP_UNSTORE:
                return b && !a;
        case STEP_ATTACH:
        case STEP_PLUG:
                return !b && plan_text_ok(a);
        case STEP_DETACH:
        case STEP_UNPLUG:
                return plan_text_ok(b) && !a;
        default:
                return false;
        }
}

/* Where the subject only repeats the address or the group, it must. */
static bool subject_ok(const Step *s) {
        char group[16];

        switch (s->kind) {
        case STEP_HOLD:
        case STEP_FLUSH:
        case STEP_ATTACH:
        case STEP_DETACH:
        case STEP_PLUG:
        case STEP_UNPLUG:
                return plan_text_ok(s->subject);
        case STEP_VERIFY:
                (void) snprintf(group, sizeof group, "%d", s->group);
                return str_equal(s->subject, group);
        default:
                return str_equal(s->subject, PCI_ADDRESS_STR(&s->address));
        }
}

static int step_fill(const json_t *j, Step *s, Error **e) {
        static const char *const keys[] = { "kind", "subject", "before", "after", "undo", "address", "disk", "group" };
        const char *address = json_string_value(json_object_get(j, "address"));
        const json_t *group = json_object_get(j, "group");
        int r;

        if (!json_is_object(j) || !has_only(j, keys, ELEMENTSOF(keys)))
                return error_set(e, EINVAL, "a step with unknown members, or none at all");
        if (!address || pci_address_parse(address, &s->address) < 0)
                return bad(e, "step", "address");
        if (!json_is_integer(group) || json_integer_value(group) < -1 || json_integer_value(group) > INT_MAX)
                return bad(e, "step", "group");
        s->group = (int) json_integer_value(group);
        if ((r = read_step_kind(j, &s->kind, e)) < 0 || (r = read_nullable(j, "step", "subject", &s->subject, e)) < 0 ||
            (r = read_nullable(j, "step", "before", &s->before, e)) < 0 ||
            (r = read_nullable(j, "step", "after", &s->after, e)) < 0 ||
            (r = read_nullable(j, "step", "disk", &s->disk, e)) < 0)
                return r;
        if (!subject_ok(s))
                return bad(e, "step", "subject");
        return values_ok(s) ? 0 : bad(e, "step", "before, after or disk");
}

int step_from_json(const json_t *j, Step *ret, Error **e) {
        Step s = {};
        int r = step_fill(j, &s, e);

        if (r < 0) {
                step_clear(&s);
                return r;
        }
        *ret = s;
        return 0;
}

/* -- plans ------------------------------------------------------------------------------------------------------------- */

json_t *plan_to_json(const Plan *p) {
        _cleanup_free_ char *digest = plan_digest(p);
        json_t *steps = json_array();

        for (size_t i = 0; i < p->n_steps; i++)
                json_array_append_new(steps, step_to_json(&p->steps[i]));
        if (!digest || json_array_size(steps) != p->n_steps) {
                json_decref(steps);
                return NULL;
        }
        return json_pack("{s:s, s:s?, s:o, s:b, s:o, s:o, s:s}", "kind", plan_kind_to_string(p->kind), "guest", p->guest,
                         "controllers", addresses_to_json(p->controllers, p->n_controllers), "forced", p->forced, "steps",
                         steps, "notes", strings_to_json(p->notes, p->n_notes), "digest", digest);
}

static int read_steps(const json_t *j, Plan *p, Error **e) {
        const json_t *array = json_object_get(j, "steps");
        size_t n = json_array_size(array);

        if (!json_is_array(array))
                return bad(e, "plan", "steps");
        p->steps = calloc(n + 1, sizeof *p->steps);
        if (!p->steps)
                return error_oom(e);
        for (size_t i = 0; i < n; i++) {
                int r = step_from_json(json_array_get(array, i), &p->steps[i], e);
                if (r < 0)
                        return r;
                p->n_steps = i + 1;
        }
        return 0;
}

static int plan_fill(const json_t *j, Plan *p, Error **e) {
        static const char *const keys[] = { "kind", "guest", "controllers", "forced", "steps", "notes", "digest" };
        _cleanup_free_ char *digest = NULL;
        int r;

        if (!json_is_object(j) || !has_only(j, keys, ELEMENTSOF(keys)))
                return error_set(e, EINVAL, "a plan with unknown members, or none at all");
        if ((r = read_kind(j, "plan", &p->kind, e)) < 0 || (r = read_nullable(j, "plan", "guest", &p->guest, e)) < 0 ||
            (r = read_addresses(j, "plan", &p->controllers, &p->n_controllers, e)) < 0 ||
            (r = read_bool(j, "plan", "forced", &p->forced, e)) < 0 || (r = read_steps(j, p, e)) < 0 ||
            (r = read_strings(j, "plan", "notes", &p->notes, &p->n_notes, e)) < 0)
                return r;
        if (p->guest && !plan_text_ok(p->guest))
                return bad(e, "plan", "guest");
        if (!(digest = plan_digest(p)))
                return error_oom(e);
        return str_equal(digest, json_string_value(json_object_get(j, "digest"))) ? 0 : bad(e, "plan", "digest");
}

int plan_from_json(const json_t *j, Plan **ret, Error **e) {
        _cleanup_(plan_freep) Plan *p = calloc(1, sizeof *p);

        if (!p)
                return error_oom(e);
        int r = plan_fill(j, p, e);
        if (r >= 0)
                *ret = TAKE_PTR(p);
        return r;
}
