/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan that gives controllers back to the host. */
#include "model/controller.h"
#include "plan/make.h"

/* What is there now for one controller of the plan. Hardware other than the recorded is never touched: f is NULL then. */
typedef struct Target {
        const Assigned *record;
        const PciFunction *f;
} Target;

typedef struct Release {
        const Host *h;
        const PlanRequest *q;
        Plan *p;
        Target *targets;
        size_t n;
} Release;

/* -- which ------------------------------------------------------------------------------------------------------------- */

static void add_target(Release *r, const Assigned *a) {
        const PciFunction *f = host_find_function(r->h, &a->address);

        r->targets[r->n++] = (Target){ .record = a, .f = f && assigned_is_device(a, f, NULL) ? f : NULL };
}

static int add_all_of_guest(Release *r, const char *guest, Error **e) {
        for (size_t i = 0; i < r->h->n_assigned; i++)
                if (str_equal(r->h->assigned[i].guest, guest))
                        add_target(r, &r->h->assigned[i]);
        if (r->n == 0)
                return error_set_full(e, ENOENT, "not-assigned", "passthructl status shows what is assigned.",
                                      "nothing is assigned to guest %s", guest);
        return 0;
}

static int add_named(Release *r, const PlanRequest *q, Error **e) {
        const char *guest = q->guest;

        for (size_t i = 0; i < q->n_controllers; i++) {
                const char *address = PCI_ADDRESS_STR(&q->controllers[i]);
                const Assigned *a = host_find_assigned(r->h, &q->controllers[i]);
                if (!a)
                        return error_set_full(e, ENOENT, "not-assigned", "passthructl status shows what is assigned.",
                                              "%s is not assigned to a guest by passthru", address);
                if (q->guest && !str_equal(a->guest, q->guest))
                        return error_set_full(e, ENOENT, "not-assigned", "passthructl status shows what is assigned.",
                                              "%s is assigned to guest %s, not to %s", address, a->guest, q->guest);
                if (guest && !str_equal(a->guest, guest))
                        return error_set_full(e, EINVAL, "several-guests", "Release them guest by guest.",
                                              "%s is assigned to guest %s, another one of these to %s", address, a->guest,
                                              guest);
                guest = a->guest;
                add_target(r, a);
        }
        return 0;
}

static int find_targets(Release *r, const PlanRequest *q, Error **e) {
        size_t n = q->n_controllers > r->h->n_assigned ? q->n_controllers : r->h->n_assigned;

        r->targets = calloc(n + 1, sizeof *r->targets);
        r->p->controllers = calloc(n + 1, sizeof *r->p->controllers);
        if (!r->targets || !r->p->controllers)
                return -ENOMEM;
        int s = q->n_controllers > 0 ? add_named(r, q, e) : add_all_of_guest(r, q->guest, e);
        if (s < 0)
                return s;
        for (size_t i = 0; i < r->n; i++)
                r->p->controllers[i] = r->targets[i].record->address;
        r->p->n_controllers = r->n;
        r->p->guest = strdup(r->targets[0].record->guest);
        return r->p->guest ? 0 : -ENOMEM;
}

/* -- the running guest ---------------------------------------------------------------------------------------------------- */

/* The device in the running guest. */
static const GuestDevice *device_of_running(const Release *r, const Target *t) {
        const Guest *g = host_find_guest(r->h, r->p->guest);
        const GuestDevice *d = guest_find_device(g, &t->record->address);

        return d && d->in_live && g->state != GUEST_SHUT_OFF ? d : NULL;
}

static int check_own_guest(const Release *r, const Guest *g, const GuestDevice *d, const Target *t, Error **e) {
        const char *address = PCI_ADDRESS_STR(&t->record->address);

        if (!d->in_live)
                return 0;
        if (g->state != GUEST_RUNNING)
                return error_set_full(e, EBUSY, "guest-paused", "Let it go on (virsh resume GUEST), or end it.",
                                      "guest %s is %s and cannot give %s back", g->name, guest_state_to_string(g->state), address);
        if (!guest_device_is_ours(d))
                return error_set_full(e, EEXIST, "foreign", "Take it out with virsh detach-device, or shut the guest down.",
                                      "the running guest %s has %s, but not from passthru", g->name, address);
        return r->q->force_unplug ? 0 : plan_check_unused(g, t->record, e);
}

/* -- may it be --------------------------------------------------------------------------------------------------------- */

/* The device in the guest's definition when we put it there. */
static const GuestDevice *device_of_guest(const Release *r, const Target *t) {
        const GuestDevice *d = guest_find_device(host_find_guest(r->h, r->p->guest), &t->record->address);

        return d && d->in_config && guest_device_is_ours(d) ? d : NULL;
}

/* Any guest may run with it, not only the one that we know of. */
static int check_guests(const Release *r, const Target *t, Error **e) {
        const PciAddress *a = &t->record->address;

        for (size_t i = 0; i < r->h->n_guests; i++) {
                const Guest *g = &r->h->guests[i];
                const GuestDevice *d = guest_find_device(g, a);
                if (g->state == GUEST_SHUT_OFF || !d)
                        continue;
                if (d->in_live && !str_equal(g->name, r->p->guest))
                        return error_set_full(e, EBUSY, "guest-running", "Shut it down first: virsh shutdown GUEST.",
                                              "guest %s is %s and has %s", g->name, guest_state_to_string(g->state),
                                              PCI_ADDRESS_STR(a));
                int s = str_equal(g->name, r->p->guest) ? check_own_guest(r, g, d, t, e) : 0;
                if (s < 0)
                        return s;
        }
        return 0;
}

static bool is_bound(const Target *t) {
        return t->f && str_equal(t->f->driver, VFIO_DRIVER);
}

static bool needs_bind(const Target *t) {
        return t->f && (is_bound(t) || (!t->f->driver && t->record->host_driver));
}

static int check_not_foreign(const Target *t, Error **e) {
        const char *override = t->f ? t->f->driver_override : NULL;

        if (!needs_bind(t) || !override || str_equal(override, VFIO_DRIVER))
                return 0;
        return error_set_full(e, EBUSY, "foreign",
                              "Remove what sets it (driverctl list-overrides shows driverctl's), then try again.",
                              "the driver override of %s is %s, and passthru did not set it",
                              PCI_ADDRESS_STR(&t->record->address), override);
}

static bool is_released(const Release *r, const PciAddress *a) {
        for (size_t i = 0; i < r->n; i++)
                if (pci_address_equal(&r->targets[i].record->address, a))
                        return true;
        return false;
}

/* Another controller of the group that stays assigned. A member on a driver of the host would take the group from VFIO
 * (iommu_group_claim_dma_owner, drivers/iommu/iommu.c), so this one leaves the guest only, and stays reserved. NULL: none. */
static const Assigned *mate_that_stays(const Release *r, const Target *t) {
        for (size_t i = 0; needs_bind(t) && t->f->group >= 0 && i < r->h->n_assigned; i++) {
                const Assigned *mate = &r->h->assigned[i];
                const PciFunction *f = host_find_function(r->h, &mate->address);
                if (f && f->group == t->f->group && !is_released(r, &mate->address) && pci_driver_is_vfio(f->driver))
                        return mate;
        }
        return NULL;
}

static int check_group(const Release *r, const Target *t, Error **e) {
        const Assigned *mate = mate_that_stays(r, t);

        if (!mate || device_of_guest(r, t) || device_of_running(r, t))
                return 0;
        return error_set_full(e, EBUSY, "group-shared", "Release all of the group together.",
                              "%s cannot go back alone: %s of the same IOMMU group %d stays assigned to guest %s",
                              PCI_ADDRESS_STR(&t->record->address), PCI_ADDRESS_STR(&mate->address), t->f->group, mate->guest);
}

static int check_targets(const Release *r, Error **e) {
        /* Whether the guest has it, or runs, nobody knows then. */
        if (!r->h->guests_known)
                return plan_no_libvirt(r->h, "Start it: systemctl start libvirtd (or virtqemud.socket).", e);
        for (size_t i = 0; i < r->n; i++) {
                int s;
                if ((s = check_guests(r, &r->targets[i], e)) < 0 || (s = check_not_foreign(&r->targets[i], e)) < 0 ||
                    (s = check_group(r, &r->targets[i], e)) < 0)
                        return s;
        }
        return 0;
}

/* -- the steps --------------------------------------------------------------------------------------------------------- */

static int add_step(Release *r, StepKind kind, const Target *t, const char *before, const char *after) {
        return plan_add_step(r->p, kind, PCI_ADDRESS_STR(&t->record->address), &t->record->address, before, after);
}

static int add_unplug(Release *r, const Target *t) {
        if (!device_of_running(r, t))
                return 0;
        r->p->forced = r->q->force_unplug;
        return plan_add_step(r->p, STEP_UNPLUG, r->p->guest, &t->record->address, PCI_ADDRESS_STR(&t->record->address), NULL);
}

static int add_detach(Release *r, const Target *t) {
        if (!device_of_guest(r, t))
                return 0;
        return plan_add_step(r->p, STEP_DETACH, r->p->guest, &t->record->address, PCI_ADDRESS_STR(&t->record->address), NULL);
}

static int add_unbind(Release *r, const Target *t) {
        return is_bound(t) && !mate_that_stays(r, t) ? add_step(r, STEP_UNBIND, t, VFIO_DRIVER, NULL) : 0;
}

/* There was none before the assignment: one that was there would have been refused. */
static int add_override(Release *r, const Target *t) {
        if (!t->f || !str_equal(t->f->driver_override, VFIO_DRIVER) || mate_that_stays(r, t))
                return 0;
        return add_step(r, STEP_OVERRIDE, t, VFIO_DRIVER, NULL);
}

static int add_bind(Release *r, const Target *t) {
        const char *driver = t->record->host_driver;

        if (!needs_bind(t) || mate_that_stays(r, t))
                return 0;
        return add_step(r, STEP_BIND, t, NULL, driver && !pci_driver_is_vfio(driver) ? driver : "");
}

static int add_unstore(Release *r, const Target *t) {
        _cleanup_free_ char *before = NULL;

        if (mate_that_stays(r, t))
                return 0;
        int s = plan_record_text(t->record, &before);
        return s < 0 ? s : add_step(r, STEP_UNSTORE, t, before, NULL);
}

/* The order of assign, reversed: see there why the override is cleared between unbind and bind. */
static int (*const phases[])(Release *r, const Target *t) = { add_unplug, add_detach, add_unbind, add_override, add_bind, add_unstore };

static int add_steps(Release *r) {
        for (size_t i = 0; i < ELEMENTSOF(phases); i++)
                for (size_t j = 0; j < r->n; j++)
                        if (phases[i](r, &r->targets[j]) < 0)
                                return -ENOMEM;
        return 0;
}

static int add_note_of_target(Release *r, const Target *t) {
        const char *address = PCI_ADDRESS_STR(&t->record->address);
        const GuestDevice *d = guest_find_device(host_find_guest(r->h, r->p->guest), &t->record->address);

        if (!t->f && plan_add_note(r->p, "What was assigned is not at %s any more: only the record and the guest's definition "
                                   "are changed, no hardware is touched.", address) < 0)
                return -ENOMEM;
        const Assigned *mate = mate_that_stays(r, t);
        if (mate && plan_add_note(r->p, "%s stays reserved for guest %s, since %s of the same IOMMU group stays assigned: the host "
                                  "gets them back together.", address, r->p->guest, PCI_ADDRESS_STR(&mate->address)) < 0)
                return -ENOMEM;
        if (d && d->in_config && !guest_device_is_ours(d))
                return plan_add_note(r->p, "The definition of guest %s holds %s, but not from passthru: it stays there "
                                     "(virsh edit removes it).", r->p->guest, address);
        return 0;
}

static int add_notes(Release *r) {
        bool bind = false;

        if (r->p->forced && plan_add_note(r->p, "Whether guest %s still uses the disks is not looked at (--force-unplug): what it has "
                                          "not written yet is lost.", r->p->guest) < 0)
                return -ENOMEM;

        for (size_t i = 0; i < r->n; i++) {
                bind = bind || (needs_bind(&r->targets[i]) && !mate_that_stays(r, &r->targets[i]));
                if (add_note_of_target(r, &r->targets[i]) < 0)
                        return -ENOMEM;
        }
        if (!bind)
                return 0;
        return plan_add_note(r->p, "The host sees the guest's disks again afterwards, perhaps under other names: its pools "
                             "should have been exported in the guest.");
}

static int release_fill(Release *r, const PlanRequest *q, Error **e) {
        int s;

        if ((s = find_targets(r, q, e)) < 0 || (s = check_targets(r, e)) < 0 || (s = add_steps(r)) < 0)
                return s;
        return add_notes(r);
}

int plan_release(const Host *h, const PlanRequest *q, Plan *p, Error **e) {
        Release r = { .h = h, .q = q, .p = p };
        int s = release_fill(&r, q, e);

        free(r.targets);
        return s;
}
