/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a request to a plan: what both kinds have in common. */
#include "plan/make.h"

#include <stdarg.h>

#include "model/controller.h"

int plan_add_step(Plan *p, StepKind kind, const char *subject, const PciAddress *a, const char *before, const char *after) {
        Step *steps = reallocarray(p->steps, p->n_steps + 1, sizeof *steps);

        if (!steps)
                return -ENOMEM;
        p->steps = steps;
        int r = step_init(&steps[p->n_steps], kind, subject, a, before, after);
        if (r >= 0)
                p->n_steps++;
        return r;
}

int plan_add_note(Plan *p, const char *format, ...) {
        char **notes = reallocarray(p->notes, p->n_notes + 1, sizeof *notes);
        va_list ap;

        if (!notes)
                return -ENOMEM;
        p->notes = notes;
        va_start(ap, format);
        int r = vasprintf(&notes[p->n_notes], format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        p->n_notes++;
        return 0;
}

int plan_record_text(const Assigned *a, char **ret) {
        _cleanup_json_ json_t *j = assigned_to_json(a);

        *ret = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        return *ret ? 0 : -ENOMEM;
}

int plan_no_libvirt(const Host *h, const char *remedy, Error **e) {
        return error_set_full(e, ECONNREFUSED, "no-libvirt", remedy, "the guests are not known: %s",
                              h->guests_problem ? h->guests_problem : "libvirt is not there");
}

static int check_request(const PlanRequest *q, Error **e) {
        if (q->kind == PLAN_ASSIGN && q->n_controllers == 0)
                return error_set_full(e, EINVAL, "no-controllers", "Name at least one: passthructl list shows them.",
                                      "no controller is named");
        if (!q->guest && (q->kind == PLAN_ASSIGN || q->n_controllers == 0))
                return error_set_full(e, EINVAL, "no-guest", "Name a guest: virsh list --all shows them.", "no guest is named");
        if (q->n_controllers > PLAN_CONTROLLERS_MAX)
                return error_set_full(e, E2BIG, "too-many-controllers", "Split the request.",
                                      "%zu controllers are named, at most %d are taken at once", q->n_controllers,
                                      PLAN_CONTROLLERS_MAX);
        for (size_t i = 0; i < q->n_controllers; i++)
                for (size_t j = 0; j < i; j++)
                        if (pci_address_equal(&q->controllers[i], &q->controllers[j]))
                                return error_set_full(e, EINVAL, "duplicate-controller", "Name it once.",
                                                      "%s is named more than once", PCI_ADDRESS_STR(&q->controllers[i]));
        return 0;
}

/* Whose strings the caller wants is the caller's; the plan keeps a copy. */
static int copy_finding(FindingList *to, const Finding *f) {
        Finding *copy = finding_add(to, f->check, f->kind, f->verdict, f->subject, "%s", f->message ? f->message : "");

        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_evidence; i++)
                if (finding_evidence(copy, "%s", f->evidence[i]) < 0)
                        return -ENOMEM;
        return f->remedy && finding_remedy(copy, "%s", f->remedy) < 0 ? -ENOMEM : 0;
}

static int copy_findings(FindingList *to, const FindingList *from) {
        for (size_t i = 0; i < from->n; i++)
                if (copy_finding(to, &from->items[i]) < 0)
                        return -ENOMEM;
        return 0;
}

int plan_make(const Host *h, const PlanRequest *q, Plan **ret, FindingList *ret_findings, Error **e) {
        _cleanup_(plan_freep) Plan *p = calloc(1, sizeof *p);

        if (!p)
                return error_oom(e);
        int r = check_request(q, e);
        if (r < 0)
                return r;
        p->kind = q->kind;
        r = q->kind == PLAN_ASSIGN ? plan_assign(h, q, p, &p->findings, e) : plan_release(h, q, p, e);
        if (r == -ENOMEM)
                return error_oom(e);
        if (ret_findings && copy_findings(ret_findings, &p->findings) < 0)
                return error_oom(e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}
