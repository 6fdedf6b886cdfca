/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plan/plan.h"

#include <inttypes.h>

static const char *const step_kind_table[_STEP_KIND_MAX] = {
        [STEP_HOLD] = "hold",
        [STEP_FLUSH] = "flush",
        [STEP_OVERRIDE] = "override",
        [STEP_UNBIND] = "unbind",
        [STEP_BIND] = "bind",
        [STEP_VERIFY] = "verify",
        [STEP_STORE] = "store",
        [STEP_UNSTORE] = "unstore",
        [STEP_ATTACH] = "attach",
        [STEP_DETACH] = "detach",
        [STEP_PLUG] = "plug",
        [STEP_UNPLUG] = "unplug",
};

static const char *const plan_kind_table[_PLAN_KIND_MAX] = {
        [PLAN_ASSIGN] = "assign",
        [PLAN_RELEASE] = "release",
};

const char *step_kind_to_string(StepKind k) {
        return k < _STEP_KIND_MAX ? step_kind_table[k] : NULL;
}

const char *plan_kind_to_string(PlanKind k) {
        return k < _PLAN_KIND_MAX ? plan_kind_table[k] : NULL;
}

void step_clear(Step *s) {
        free(s->subject);
        free(s->before);
        free(s->after);
        free(s->disk);
        *s = (Step){};
}

Plan *plan_free(Plan *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_steps; i++)
                step_clear(&p->steps[i]);
        for (size_t i = 0; i < p->n_notes; i++)
                free(p->notes[i]);
        finding_list_clear(&p->findings);
        free(p->notes);
        free(p->steps);
        free(p->controllers);
        free(p->guest);
        free(p);
        return NULL;
}

void plan_request_clear(PlanRequest *q) {
        for (size_t i = 0; i < q->n_accept; i++)
                free(q->accept[i]);
        free(q->accept);
        free(q->controllers);
        free(q->guest);
        *q = (PlanRequest){};
}

/* -- digest ------------------------------------------------------------------------------------------------------------ */

/* FNV-1a, 64 bits (draft-eastlake-fnv) */
static void hash_bytes(uint64_t *hash, const void *data, size_t size) {
        const uint8_t *bytes = data;

        for (size_t i = 0; i < size; i++)
                *hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static void hash_number(uint64_t *hash, int64_t n) {
        for (unsigned shift = 0; shift < 64; shift += 8)
                hash_bytes(hash, &(uint8_t){ (uint8_t) ((uint64_t) n >> shift) }, 1);
}

/* The length goes first, so that no two sequences of strings hash the same bytes; none differs from empty. */
static void hash_string(uint64_t *hash, const char *s) {
        hash_number(hash, s ? (int64_t) strlen(s) : -1);
        if (s)
                hash_bytes(hash, s, strlen(s));
}

static void hash_address(uint64_t *hash, const PciAddress *a) {
        hash_string(hash, PCI_ADDRESS_STR(a));
}

static void hash_step(uint64_t *hash, const Step *s) {
        hash_number(hash, s->kind);
        hash_string(hash, s->subject);
        hash_string(hash, s->before);
        hash_string(hash, s->after);
        hash_address(hash, &s->address);
        hash_string(hash, s->disk);
        hash_number(hash, s->group);
}

char *plan_digest(const Plan *p) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        char *digest;

        hash_number(&hash, p->kind);
        hash_string(&hash, p->guest);
        hash_number(&hash, (int64_t) p->n_controllers);
        for (size_t i = 0; i < p->n_controllers; i++)
                hash_address(&hash, &p->controllers[i]);
        hash_number(&hash, p->forced);
        for (size_t i = 0; i < p->n_steps; i++)
                hash_step(&hash, &p->steps[i]);
        return asprintf(&digest, "%016" PRIx64, hash) < 0 ? NULL : digest;
}
