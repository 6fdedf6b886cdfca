/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has to be done so that an unfinished transaction has never been: a pure function of the journal and the Host. */
#include <errno.h>

#include "apply/apply.h"

/* The Host as it will be after the inverse steps found so far: only then does a step before them show where it stands. The
 * strings are borrowed, from the Host and from the steps. */
typedef struct Recall {
        const Transaction *t;
        Host simulated;
        Step *steps;
        size_t *origin;
        size_t n;
        char *foreign;
} Recall;

static void recall_clear(Recall *c) {
        for (size_t i = 0; i < c->n; i++)
                step_clear(&c->steps[i]);
        free(c->steps);
        free(c->origin);
        free(c->foreign);
        free(c->simulated.functions);
}

static int recall_init(Recall *c, const Transaction *t, const Host *h) {
        size_t n = t->plan->n_steps;

        *c = (Recall){ .t = t, .simulated = *h };
        c->steps = calloc(n + 1, sizeof *c->steps);
        c->origin = calloc(n + 1, sizeof *c->origin);
        c->simulated.functions = calloc(h->n_functions + 1, sizeof *h->functions);
        if (!c->steps || !c->origin || !c->simulated.functions)
                return -ENOMEM;
        for (size_t i = 0; i < h->n_functions; i++)
                c->simulated.functions[i] = h->functions[i];
        return 0;
}

static PciFunction *simulated_function(Recall *c, const PciAddress *a) {
        const PciFunction *f = host_find_function(&c->simulated, a);

        return f ? &c->simulated.functions[f - c->simulated.functions] : NULL;
}

/* Of the other kinds a plan has one step for each object, so nothing before them depends on it. */
static void simulate(Recall *c, const Step *s) {
        PciFunction *f = simulated_function(c, &s->address);

        if (!f)
                return;
        if (s->kind == STEP_OVERRIDE)
                f->driver_override = s->after;
        else if (s->kind == STEP_UNBIND || s->kind == STEP_BIND)
                f->driver = s->after;
}

/* -- where a step stands ----------------------------------------------------------------------------------------------- */

static bool was_begun(const Transaction *t, size_t i) {
        return t->progress[i] == STEP_STARTED || t->progress[i] == STEP_DONE;
}

/* What lived in the kernel of an earlier boot is gone, and what is there now is none of the transaction's work. */
static bool is_void(const Recall *c, const Step *s) {
        const char *then = c->t->boot_id, *now = c->simulated.boot_id;

        return step_is_volatile(s) && then && now && !str_equal(then, now);
}

static bool moves_driver(const Step *s) {
        return s->kind == STEP_UNBIND || s->kind == STEP_BIND;
}

static bool same_object(const Step *a, const Step *b) {
        return pci_address_equal(&a->address, &b->address) &&
               (a->kind == b->kind || (moves_driver(a) && moves_driver(b)));
}

/* The object is where an earlier step of the plan found it: this step was undone already, only the record of it is missing.
 * Of ahci → none → vfio-pci the bind has no "ahci" to its name, but the unbind before it has. */
static bool is_further_back(const Recall *c, size_t i) {
        const Plan *p = c->t->plan;

        for (size_t k = 0; k < i; k++)
                if (same_object(&p->steps[k], &p->steps[i]) && step_state(&p->steps[k], &c->simulated) == STEP_AT_BEFORE)
                        return true;
        return false;
}

static StepState where(const Recall *c, size_t i) {
        return is_further_back(c, i) ? STEP_AT_BEFORE : step_state(&c->t->plan->steps[i], &c->simulated);
}

/* -- what is somebody else's ------------------------------------------------------------------------------------------- */

static const char *none(const char *s) {
        return s ? s : "none";
}

static int foreign_text(Recall *c, const Step *s, char **ret) {
        const PciFunction *f = simulated_function(c, &s->address);
        const char *address = PCI_ADDRESS_STR(&s->address);

        if (s->kind == STEP_STORE || s->kind == STEP_UNSTORE)
                return asprintf(ret, "the record of %s is another one", address);
        if (s->kind == STEP_PLUG || s->kind == STEP_UNPLUG)
                return asprintf(ret, "the running guest %s has %s from somebody else, or is not known", s->subject, address);
        if (s->kind == STEP_ATTACH || s->kind == STEP_DETACH)
                return asprintf(ret, "the definition of guest %s holds %s from somebody else, or is not known", s->subject,
                                address);
        if (!f)
                return asprintf(ret, "nothing is at %s any more", address);
        if (s->kind == STEP_OVERRIDE)
                return asprintf(ret, "the driver override of %s is %s", address, none(f->driver_override));
        return asprintf(ret, "%s is bound to %s", address, none(f->driver));
}

/* Once for each object: the steps of one see the same. */
static int add_foreign(Recall *c, const Step *s) {
        _cleanup_free_ char *text = NULL;
        char *joined;

        if (foreign_text(c, s, &text) < 0)
                return -ENOMEM;
        if (c->foreign && strstr(c->foreign, text))
                return 0;
        if (asprintf(&joined, "%s%s%s", c->foreign ? c->foreign : "", c->foreign ? "; " : "", text) < 0)
                return -ENOMEM;
        free(c->foreign);
        c->foreign = joined;
        return 0;
}

/* -- what is to be done ------------------------------------------------------------------------------------------------ */

/* Bound to whatever the host had for it ("") is undone from what that is. */
static int name_driver(Recall *c, Step *inverse) {
        const PciFunction *f = simulated_function(c, &inverse->address);

        if (inverse->kind != STEP_UNBIND || *inverse->before || !f || !f->driver)
                return 0;
        char *driver = strdup(f->driver);
        if (!driver)
                return -ENOMEM;
        free(inverse->before);
        inverse->before = driver;
        return 0;
}

static int add_inverse(Recall *c, size_t i) {
        Step *inverse = &c->steps[c->n];

        if (!step_invert(&c->t->plan->steps[i], inverse))
                return -ENOMEM;
        c->origin[c->n++] = i;
        if (name_driver(c, inverse) < 0)
                return -ENOMEM;
        simulate(c, inverse);
        return 0;
}

static bool leaves_a_trace(const Step *s) {
        return s->kind != STEP_HOLD && s->kind != STEP_FLUSH && s->kind != STEP_VERIFY;
}

static int recall_step(Recall *c, size_t i) {
        const Step *s = &c->t->plan->steps[i];

        if (!was_begun(c->t, i) || !leaves_a_trace(s) || is_void(c, s))
                return 0;
        switch (where(c, i)) {
        case STEP_AT_AFTER:
                return add_inverse(c, i);
        case STEP_AT_NEITHER:
                return add_foreign(c, s);
        default:
                return 0;
        }
}

/* Moves steps[from] behind steps[to]. */
static void move_behind(Recall *c, size_t from, size_t to) {
        Step s = c->steps[from];
        size_t origin = c->origin[from];

        for (size_t i = from; i < to; i++) {
                c->steps[i] = c->steps[i + 1];
                c->origin[i] = c->origin[i + 1];
        }
        c->steps[to] = s;
        c->origin[to] = origin;
}

/* Position of the last override of the address of steps[i] behind it, or i. */
static size_t last_override(const Recall *c, size_t i) {
        for (size_t j = c->n - 1; j > i; j--)
                if (c->steps[j].kind == STEP_OVERRIDE && pci_address_equal(&c->steps[j].address, &c->steps[i].address))
                        return j;
        return i;
}

/* drivers_probe binds what the override names (pci_match_device, drivers/pci/pci-driver.c), so a bind waits until the
 * override is back, also when the plan had set it before it unbound. */
static void order_binds(Recall *c) {
        for (size_t i = c->n; i-- > 0;)
                if (c->steps[i].kind == STEP_BIND)
                        move_behind(c, i, last_override(c, i));
}

int recovery_steps(const Transaction *t, const Host *h, Step **ret_steps, size_t **ret_origin, size_t *ret_n,
                   char **ret_foreign, Error **e) {
        _cleanup_(recall_clear) Recall c = {};

        if (recall_init(&c, t, h) < 0)
                return error_oom(e);
        for (size_t i = t->plan->n_steps; i-- > 0;)
                if (recall_step(&c, i) < 0)
                        return error_oom(e);
        order_binds(&c);
        *ret_steps = TAKE_PTR(c.steps);
        *ret_origin = TAKE_PTR(c.origin);
        *ret_n = c.n;
        *ret_foreign = TAKE_PTR(c.foreign);
        c.n = 0;
        return 0;
}
