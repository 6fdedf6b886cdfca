/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one step means: in words, undone, and seen in a Host. */
#include "model/controller.h"
#include "plan/make.h"

/* -- in words ---------------------------------------------------------------------------------------------------------- */

static int describe_disk(const Step *s, const char *verb, char **ret) {
        const char *address = PCI_ADDRESS_STR(&s->address);

        if (!s->disk || str_equal(s->disk, s->subject))
                return asprintf(ret, "%s disk %s behind %s", verb, s->subject, address);
        return asprintf(ret, "%s disk %s (%s) behind %s", verb, s->disk, s->subject, address);
}

static int describe(const Step *s, char **ret) {
        const char *address = PCI_ADDRESS_STR(&s->address);

        switch (s->kind) {
        case STEP_HOLD:
                return describe_disk(s, "hold", ret);
        case STEP_FLUSH:
                return describe_disk(s, "flush", ret);
        case STEP_OVERRIDE:
                if (!s->after)
                        return asprintf(ret, "clear the driver override %s of %s", s->before, address);
                return asprintf(ret, "set the driver override of %s to %s", address, s->after);
        case STEP_UNBIND:
                return asprintf(ret, "unbind %s from %s", address, s->before);
        case STEP_BIND:
                if (!*s->after)
                        return asprintf(ret, "let the host's drivers bind %s", address);
                return asprintf(ret, "bind %s to %s", address, s->after);
        case STEP_VERIFY:
                return asprintf(ret, "verify IOMMU group %d with VFIO", s->group);
        case STEP_STORE:
                return asprintf(ret, "record the assignment of %s", address);
        case STEP_UNSTORE:
                return asprintf(ret, "remove the record of the assignment of %s", address);
        case STEP_ATTACH:
                return asprintf(ret, "attach %s to the definition of guest %s", address, s->subject);
        case STEP_DETACH:
                return asprintf(ret, "detach %s from the definition of guest %s", address, s->subject);
        case STEP_PLUG:
                return asprintf(ret, "plug %s into the running guest %s", address, s->subject);
        case STEP_UNPLUG:
                return asprintf(ret, "unplug %s from the running guest %s", address, s->subject);
        default:
                return -1;
        }
}

char *step_describe(const Step *s) {
        char *text;

        return describe(s, &text) < 0 ? NULL : text;
}

/* -- undone ------------------------------------------------------------------------------------------------------------ */

static const struct {
        bool volatile_; /* lives in the kernel, or in this process, only */
        bool undone;
        StepKind inverse;
} step_kinds[_STEP_KIND_MAX] = {
        [STEP_HOLD] = { .volatile_ = true },
        [STEP_FLUSH] = { .volatile_ = true },
        [STEP_OVERRIDE] = { true, true, STEP_OVERRIDE },
        [STEP_UNBIND] = { true, true, STEP_BIND },
        [STEP_BIND] = { true, true, STEP_UNBIND },
        [STEP_VERIFY] = { .volatile_ = true },
        [STEP_STORE] = { false, true, STEP_UNSTORE },
        [STEP_UNSTORE] = { false, true, STEP_STORE },
        [STEP_ATTACH] = { false, true, STEP_DETACH },
        [STEP_DETACH] = { false, true, STEP_ATTACH },
        [STEP_PLUG] = { true, true, STEP_UNPLUG },
        [STEP_UNPLUG] = { true, true, STEP_PLUG },
};

bool step_is_volatile(const Step *s) {
        return step_kinds[s->kind].volatile_;
}

static int copy_string(char **ret, const char *s) {
        *ret = s ? strdup(s) : NULL;
        return s && !*ret ? -ENOMEM : 0;
}

int step_init(Step *s, StepKind kind, const char *subject, const PciAddress *a, const char *before, const char *after) {
        *s = (Step){ .kind = kind, .address = *a, .group = -1 };
        if (copy_string(&s->subject, subject) < 0 || copy_string(&s->before, before) < 0 || copy_string(&s->after, after) < 0) {
                step_clear(s);
                return -ENOMEM;
        }
        return 0;
}

bool step_invert(const Step *s, Step *ret) {
        StepKind kind = step_kinds[s->kind].inverse;

        if (!step_kinds[s->kind].undone)
                return false;
        /* A record that replaced another one is undone by writing the other one back. */
        if (s->kind == STEP_STORE && s->before)
                kind = STEP_STORE;
        return step_init(ret, kind, s->subject, &s->address, s->after, s->before) == 0;
}

/* -- seen in a Host ---------------------------------------------------------------------------------------------------- */

static StepState compare(const char *now, const Step *s) {
        if (str_equal(now, s->before))
                return STEP_AT_BEFORE;
        return str_equal(now, s->after) ? STEP_AT_AFTER : STEP_AT_NEITHER;
}

/* after "" means whatever driver of the host takes it. vfio-pci never does by itself: it matches by override only
 * (PCI_DRIVER_OVERRIDE_DEVICE_VFIO, drivers/vfio/pci/vfio_pci.c). */
static StepState bind_state(const char *driver, const Step *s) {
        if (driver && s->after && !*s->after)
                return pci_driver_is_vfio(driver) ? STEP_AT_NEITHER : STEP_AT_AFTER;
        return compare(driver, s);
}

/* One version of the record's text, so that two writings of the same compare equal. NULL: none, or unreadable. */
static json_t *record_canonical(const char *text) {
        _cleanup_json_ json_t *j = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
        Assigned a = {};

        if (!j || assigned_from_json(j, &a, NULL) < 0)
                return NULL;
        json_t *canonical = assigned_to_json(&a);
        assigned_clear(&a);
        return canonical;
}

static bool record_is(const json_t *now, const char *text) {
        _cleanup_json_ json_t *j = record_canonical(text);

        return text ? j && now && json_equal(j, now) : !now;
}

static StepState record_state(const Step *s, const Host *h) {
        const Assigned *a = host_find_assigned(h, &s->address);
        _cleanup_json_ json_t *now = a ? assigned_to_json(a) : NULL;

        if (a && !now)
                return STEP_AT_NEITHER;
        if (record_is(now, s->before))
                return STEP_AT_BEFORE;
        return record_is(now, s->after) ? STEP_AT_AFTER : STEP_AT_NEITHER;
}

const GuestDevice *guest_find_device(const Guest *g, const PciAddress *a) {
        for (size_t i = 0; g && i < g->n_devices; i++)
                if (pci_address_equal(&g->devices[i].address, a))
                        return &g->devices[i];
        return NULL;
}

bool guest_device_is_ours(const GuestDevice *d) {
        return d->alias && strncmp(d->alias, "ua-passthru-", strlen("ua-passthru-")) == 0;
}

static StepState guest_state(const Step *s, const Host *h) {
        const GuestDevice *d = guest_find_device(host_find_guest(h, s->subject), &s->address);
        bool present = d && d->in_config;

        if (!h->guests_known || (present && !guest_device_is_ours(d)))
                return STEP_AT_NEITHER;
        return present == (s->kind == STEP_ATTACH) ? STEP_AT_AFTER : STEP_AT_BEFORE;
}

/* A guest that does not run any more has let go of it by itself: nothing is to be undone. */
static StepState live_state(const Step *s, const Host *h) {
        const Guest *g = host_find_guest(h, s->subject);
        const GuestDevice *d = guest_find_device(g, &s->address);
        bool present = d && d->in_live;

        if (!h->guests_known || (present && !guest_device_is_ours(d)))
                return STEP_AT_NEITHER;
        if (!g || g->state == GUEST_SHUT_OFF)
                return STEP_AT_BEFORE;
        return present == (s->kind == STEP_PLUG) ? STEP_AT_AFTER : STEP_AT_BEFORE;
}

StepState step_state(const Step *s, const Host *h) {
        const PciFunction *f = host_find_function(h, &s->address);

        switch (s->kind) {
        case STEP_OVERRIDE:
                return f ? compare(f->driver_override, s) : STEP_AT_NEITHER;
        case STEP_UNBIND:
                return f ? compare(f->driver, s) : STEP_AT_NEITHER;
        case STEP_BIND:
                return f ? bind_state(f->driver, s) : STEP_AT_NEITHER;
        case STEP_STORE:
        case STEP_UNSTORE:
                return record_state(s, h);
        case STEP_ATTACH:
        case STEP_DETACH:
                return guest_state(s, h);
        case STEP_PLUG:
        case STEP_UNPLUG:
                return live_state(s, h);
        default:
                return STEP_AT_BEFORE; /* nothing to see, nothing to undo */
        }
}
