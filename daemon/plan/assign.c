/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan that hands controllers to a guest. */
#include "check/check.h"
#include "model/controller.h"
#include "plan/make.h"

/* -- the guest --------------------------------------------------------------------------------------------------------- */

static char *guest_names(const Host *h) {
        char *names = NULL;
        size_t size;
        FILE *f = open_memstream(&names, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < h->n_guests; i++)
                if (!h->guests[i].session)
                        (void) fprintf(f, "%s%s", ftell(f) > 0 ? ", " : "", h->guests[i].name);
        return fclose(f) == 0 ? names : NULL;
}

static int no_such_guest(const Host *h, const char *guest, Error **e) {
        _cleanup_free_ char *names = guest_names(h);

        if (!names)
                return error_oom(e);
        if (!*names)
                return error_set_full(e, ENOENT, "no-such-guest", "Define it first: virsh define FILE.",
                                      "there is no guest %s, libvirt has no guests at all", guest);
        return error_set_full(e, ENOENT, "no-such-guest", "Name one of these, or define it: virsh define FILE.",
                              "there is no guest %s, there are: %s", guest, names);
}

static int check_guest_exists(const Host *h, const PlanRequest *q, Error **e) {
        if (!h->guests_known && !q->no_attach)
                return plan_no_libvirt(h, "Start it: systemctl start libvirtd (or virtqemud.socket). With --no-attach the "
                                       "controllers are only reserved for the guest.", e);
        /* Where libvirt has no guests the one that is meant may be somebody else's. */
        if (h->guests_known && !host_find_guest(h, q->guest) && !(q->no_attach && h->n_guests == 0))
                return no_such_guest(h, q->guest, e);
        return 0;
}

/* Whether the guest's definition can be changed so that it takes effect. */
static int check_guest_ready(const Host *h, const PlanRequest *q, Error **e) {
        const Guest *g = host_find_guest(h, q->guest);

        if (q->no_attach)
                return 0;
        if (!g->persistent)
                return error_set_full(e, EINVAL, "transient-guest", "Define it: virsh define FILE.",
                                      "guest %s is transient: it has no definition that a controller could be added to",
                                      g->name);
        if (g->owner)
                return error_set_full(e, EPERM, "foreign-guest", "Add the controller there, or reserve it with --no-attach.",
                                      "guest %s belongs to %s, which would undo changes of its definition", g->name, g->owner);
        /* A paused guest would take the device, but nobody could tell whether it works. */
        if (g->state != GUEST_SHUT_OFF && g->state != GUEST_RUNNING)
                return error_set_full(e, EBUSY, "guest-paused", "Let it go on (virsh resume GUEST) or shut it down first.",
                                      "guest %s is %s: a controller can be plugged into a running guest or added to one that is "
                                      "shut off", g->name, guest_state_to_string(g->state));
        /* Its devices are those of the image: the changed definition would not be used, or not fit. */
        if (g->managed_save == TRI_YES)
                return error_set_full(e, EBUSY, "managed-save",
                                      "Start it and shut it down, or drop the image: virsh managedsave-remove GUEST.",
                                      "guest %s has a managed-save image, which would be restored without the controller",
                                      g->name);
        return 0;
}

/* -- whose the controllers are ----------------------------------------------------------------------------------------- */

static bool is_bound(const PciFunction *f) {
        return str_equal(f->driver, VFIO_DRIVER);
}

static int foreign_override(const PciFunction *f, Error **e) {
        return error_set_full(e, EBUSY, "foreign",
                              "Remove what sets it (driverctl list-overrides shows driverctl's), then try again.",
                              "the driver override of %s is %s, and passthru did not set it", PCI_ADDRESS_STR(&f->address),
                              f->driver_override);
}

static int foreign_driver(const PciFunction *f, Error **e) {
        return error_set_full(e, EBUSY, "foreign", "Let what bound it give it back to the host first, then try again.",
                              "%s is bound to %s, and passthru did not bind it", PCI_ADDRESS_STR(&f->address), f->driver);
}

static int check_unrecorded(const PciFunction *f, Error **e) {
        if (f->driver_override)
                return foreign_override(f, e);
        if (pci_driver_is_reserving(f->driver))
                return foreign_driver(f, e);
        return 0;
}

static int check_recorded(const Host *h, const PlanRequest *q, const PciFunction *f, const Assigned *a, Error **e) {
        _cleanup_free_ char *why = NULL;

        if (!str_equal(a->guest, q->guest))
                return error_set_full(e, EEXIST, "already-assigned", "Release it first: passthructl release ADDRESS.",
                                      "%s is assigned to guest %s", PCI_ADDRESS_STR(&f->address), a->guest);
        if (!assigned_matches(a, h, f, &why))
                return error_set_full(e, ESTALE, "mismatch", "Release it, then assign it again.",
                                      "other hardware than was assigned is at %s: %s", PCI_ADDRESS_STR(&f->address),
                                      why ? why : "");
        if (f->driver_override && !str_equal(f->driver_override, VFIO_DRIVER))
                return foreign_override(f, e);
        if (f->driver && !is_bound(f) && pci_driver_is_vfio_safe(f->driver))
                return foreign_driver(f, e);
        /* Somebody bound it by force; an undo could not tell that from our own work. */
        if (f->driver && !is_bound(f) && f->driver_override)
                return error_set_full(e, EBUSY, "foreign", "Release it, then assign it again.",
                                      "%s is bound to %s although its driver override is %s", PCI_ADDRESS_STR(&f->address),
                                      f->driver, f->driver_override);
        return 0;
}

static int check_owner(const Host *h, const PlanRequest *q, const PciFunction *f, Error **e) {
        const Assigned *a = host_find_assigned(h, &f->address);

        return a ? check_recorded(h, q, f, a, e) : check_unrecorded(f, e);
}

static bool needs_attach(const Host *h, const PlanRequest *q, const PciFunction *f) {
        const GuestDevice *d = guest_find_device(host_find_guest(h, q->guest), &f->address);

        return !q->no_attach && !(d && d->in_config);
}

static bool needs_plug(const Host *h, const PlanRequest *q, const PciFunction *f) {
        const Guest *g = host_find_guest(h, q->guest);
        const GuestDevice *d = guest_find_device(g, &f->address);

        return !q->no_attach && g->state == GUEST_RUNNING && !(d && d->in_live);
}

static bool is_complete(const Host *h, const PlanRequest *q, const PciFunction *f) {
        return host_find_assigned(h, &f->address) && is_bound(f) && f->driver_override && !needs_attach(h, q, f) &&
               !needs_plug(h, q, f);
}

static int check_not_complete(const Host *h, const PlanRequest *q, Error **e) {
        for (size_t i = 0; i < q->n_controllers; i++)
                if (!is_complete(h, q, host_find_function(h, &q->controllers[i])))
                        return 0;
        return error_set_full(e, EEXIST, "already-assigned", "passthructl status shows its health.",
                              "%s%s already assigned to guest %s", PCI_ADDRESS_STR(&q->controllers[0]),
                              q->n_controllers > 1 ? " and the others are" : " is", q->guest);
}

/* -- the checks -------------------------------------------------------------------------------------------------------- */

static int check_accept(const PlanRequest *q, Error **e) {
        for (size_t i = 0; i < q->n_accept; i++) {
                const Check *c = check_find(q->accept[i]);
                if (!c)
                        return error_set_full(e, EINVAL, "no-such-check", "passthructl preflight shows the checks.",
                                              "there is no check %s to accept", q->accept[i]);
                if (c->kind != CHECK_ACCEPTABLE)
                        return error_set_full(e, EINVAL, "not-acceptable", "Mend what it finds.",
                                              "check %s guards data or cannot be got around: it is never accepted", c->id);
        }
        return 0;
}

/* Adds the sentence unless it is there already: members of one group tend to fail alike. */
static int join(char **text, const char *separator, const char *sentence) {
        char *joined;

        if (!sentence || (*text && strstr(*text, sentence)))
                return 0;
        if (asprintf(&joined, "%s%s%s", *text ? *text : "", *text ? separator : "", sentence) < 0)
                return -ENOMEM;
        free(*text);
        *text = joined;
        return 0;
}

/* A skipped check is no answer: what is not known to be safe is not done. */
static int add_refusal(const Finding *f, char **messages, char **remedies) {
        _cleanup_free_ char *text = NULL;
        bool skipped = f->verdict == VERDICT_SKIP;

        if (skipped && asprintf(&text, "%s could not be checked: %s", f->check, f->message) < 0)
                return -ENOMEM;
        if (join(messages, "; ", skipped ? text : f->message) < 0)
                return -ENOMEM;
        return join(remedies, " ", skipped ? "Mend what keeps passthru from reading it, then try again." : f->remedy);
}

static int check_findings(const FindingList *l, const PlanRequest *q, Error **e) {
        _cleanup_free_ char *messages = NULL, *remedies = NULL;

        if (check_allows(l, q->accept, q->n_accept))
                return 0;
        for (size_t i = 0; i < l->n; i++) {
                const FindingList one = { .items = &l->items[i], .n = 1 };
                if (check_allows(&one, q->accept, q->n_accept))
                        continue;
                if (add_refusal(&l->items[i], &messages, &remedies) < 0)
                        return -ENOMEM;
        }
        return error_set_full(e, EPERM, "refused", remedies, "%s", messages ? messages : "the checks do not allow it");
}

static int check_all(const Host *h, const PlanRequest *q, FindingList *l, Error **e) {
        const CheckRequest request = { .controllers = q->controllers, .n_controllers = q->n_controllers, .guest = q->guest };
        const PciFunction *f;
        int r;

        for (size_t i = 0; i < q->n_controllers; i++)
                if ((r = check_address(h, &q->controllers[i], &f, e)) < 0)
                        return r;
        if ((r = check_accept(q, e)) < 0 || (r = check_guest_exists(h, q, e)) < 0 || (r = check_run(h, &request, l, e)) < 0 ||
            (r = check_guest_ready(h, q, e)) < 0)
                return r;
        for (size_t i = 0; i < q->n_controllers; i++)
                if ((r = check_owner(h, q, host_find_function(h, &q->controllers[i]), e)) < 0)
                        return r;
        r = check_not_complete(h, q, e);
        return r < 0 ? r : check_findings(l, q, e);
}

/* -- the steps --------------------------------------------------------------------------------------------------------- */

typedef struct Assign {
        const Host *h;
        const PlanRequest *q;
        Plan *p;
} Assign;

/* Disks are named by what stays when sdX does not. A serial that is no text could be neither shown nor journalled. */
static const char *disk_subject(const Disk *d) {
        if (plan_text_ok(d->serial))
                return d->serial;
        return plan_text_ok(d->wwn) ? d->wwn : d->name;
}

static int add_disk(Plan *p, StepKind kind, const Disk *d) {
        int r = plan_add_step(p, kind, disk_subject(d), &d->controller, NULL, NULL);

        if (r < 0)
                return r;
        Step *s = &p->steps[p->n_steps - 1];
        return (s->disk = strdup(d->name)) ? 0 : -ENOMEM;
}

static int add_disks(const Assign *a, const PciFunction *f, StepKind kind) {
        for (size_t i = 0; i < a->h->n_disks; i++)
                if (pci_address_equal(&a->h->disks[i].controller, &f->address) && add_disk(a->p, kind, &a->h->disks[i]) < 0)
                        return -ENOMEM;
        return 0;
}

static int add_holds(const Assign *a, const PciFunction *f) {
        return add_disks(a, f, STEP_HOLD);
}

static int add_flushes(const Assign *a, const PciFunction *f) {
        return add_disks(a, f, STEP_FLUSH);
}

static int add_step(const Assign *a, StepKind kind, const PciFunction *f, const char *before, const char *after) {
        return plan_add_step(a->p, kind, PCI_ADDRESS_STR(&f->address), &f->address, before, after);
}

static int add_unbind(const Assign *a, const PciFunction *f) {
        return f->driver && !is_bound(f) ? add_step(a, STEP_UNBIND, f, f->driver, NULL) : 0;
}

static int add_override(const Assign *a, const PciFunction *f) {
        return f->driver_override ? 0 : add_step(a, STEP_OVERRIDE, f, NULL, VFIO_DRIVER);
}

static int add_bind(const Assign *a, const PciFunction *f) {
        return is_bound(f) ? 0 : add_step(a, STEP_BIND, f, NULL, VFIO_DRIVER);
}

/* Once for each group, about its first controller of the plan. */
static int add_verify(const Assign *a, const PciFunction *f) {
        char subject[16];

        for (size_t i = 0; i < a->p->n_steps; i++)
                if (a->p->steps[i].kind == STEP_VERIFY && a->p->steps[i].group == f->group)
                        return 0;
        (void) snprintf(subject, sizeof subject, "%d", f->group);
        int r = plan_add_step(a->p, STEP_VERIFY, subject, &f->address, NULL, NULL);
        if (r >= 0)
                a->p->steps[a->p->n_steps - 1].group = f->group;
        return r;
}

static int new_record_text(const Assign *a, const PciFunction *f, char **ret) {
        Assigned record = {};
        int r = assigned_from_host(a->h, f, a->q->guest, &record);

        if (r < 0)
                return r;
        r = plan_record_text(&record, ret);
        assigned_clear(&record);
        return r;
}

/* On vfio-pci, or on no driver, the Host shows neither the driver nor the disks that an earlier record holds, so that one
 * stays. */
static int add_store(const Assign *a, const PciFunction *f) {
        const Assigned *old = host_find_assigned(a->h, &f->address);
        _cleanup_free_ char *before = NULL, *after = NULL;
        int r;

        if (old && (!f->driver || is_bound(f)))
                return 0;
        if ((r = new_record_text(a, f, &after)) < 0 || (old && (r = plan_record_text(old, &before)) < 0))
                return r;
        return str_equal(before, after) ? 0 : add_step(a, STEP_STORE, f, before, after);
}

static int add_attach(const Assign *a, const PciFunction *f) {
        if (!needs_attach(a->h, a->q, f))
                return 0;
        return plan_add_step(a->p, STEP_ATTACH, a->q->guest, &f->address, NULL, PCI_ADDRESS_STR(&f->address));
}

static int add_plug(const Assign *a, const PciFunction *f) {
        if (!needs_plug(a->h, a->q, f))
                return 0;
        return plan_add_step(a->p, STEP_PLUG, a->q->guest, &f->address, NULL, PCI_ADDRESS_STR(&f->address));
}

/* Each for all controllers before the next begins: no disk is lost to the host before all are held, and a group becomes
 * viable only when its last member has left the host's drivers.
 *
 * The override comes between unbind and bind, not first, so that the exact reverse is right as well: the host's driver is
 * probed only when no override names vfio-pci any more. In between the controller has neither driver nor override; nothing
 * probes it by itself then. Should a module that is being loaded right then take it, the bind finds that and undoes. */
static int (*const phases[])(const Assign *a, const PciFunction *f) = {
        add_holds, add_flushes, add_unbind, add_override, add_bind, add_verify, add_store, add_attach, add_plug,
};

static int add_steps(const Assign *a) {
        for (size_t i = 0; i < ELEMENTSOF(phases); i++)
                for (size_t j = 0; j < a->p->n_controllers; j++)
                        if (phases[i](a, host_find_function(a->h, &a->p->controllers[j])) < 0)
                                return -ENOMEM;
        return 0;
}

static int add_notes(const PlanRequest *q, Plan *p) {
        if (plan_add_note(p, "Until boot-time claims exist the assignment does not last over a reboot: run assign again after "
                          "each boot, before guest %s starts.", q->guest) < 0)
                return -ENOMEM;
        return plan_add_note(p, "While it has the controller, guest %s has all of its memory pinned, and it cannot be saved, "
                             "migrated or snapshotted with its memory.", q->guest);
}

int plan_assign(const Host *h, const PlanRequest *q, Plan *p, FindingList *findings, Error **e) {
        int r = check_all(h, q, findings, e);

        if (r < 0)
                return r;
        p->guest = strdup(q->guest);
        p->controllers = reallocarray(NULL, q->n_controllers, sizeof *p->controllers);
        if (!p->guest || !p->controllers)
                return -ENOMEM;
        memcpy(p->controllers, q->controllers, q->n_controllers * sizeof *p->controllers);
        p->n_controllers = q->n_controllers;
        r = add_steps(&(Assign){ h, q, p });
        return r < 0 ? r : add_notes(q, p);
}
