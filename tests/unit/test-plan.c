/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/controller.h"
#include "support-plan.h"

static const PciAddress twins[] = { { 0, 5, 1, 0 }, { 0, 5, 2, 0 } };
static const PciAddress all_three[] = { { 0, 3, 0, 0 }, { 0, 5, 1, 0 }, { 0, 5, 2, 0 } };

/* -- helpers ----------------------------------------------------------------------------------------------------------- */

static char *describe(const Plan *p) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        for (size_t i = 0; i < p->n_steps; i++) {
                _cleanup_free_ char *line = step_describe(&p->steps[i]);
                (void) fprintf(out, "%s\n", line);
        }
        assert_int_equal(fclose(out), 0);
        return text;
}

static void assert_steps(const Plan *p, const char *expected) {
        _cleanup_free_ char *text = describe(p);

        assert_string_equal(text, expected);
}

static Error *refusal(const Host *h, const PlanRequest *q) {
        _cleanup_(plan_freep) Plan *p = NULL;
        Error *e = NULL;

        assert_true(plan_make(h, q, &p, NULL, &e) < 0);
        assert_null(p);
        assert_non_null(e);
        assert_non_null(e->message);
        return e;
}

static void assert_word(const char *text, const char *word) {
        if (!text || !strstr(text, word))
                fail_msg("\"%s\" does not say \"%s\"", text ? text : "", word);
}

static void assert_refused(const Host *h, const PlanRequest *q, const char *name, const char *word) {
        _cleanup_error_ Error *e = refusal(h, q);

        assert_string_equal(e->name, name);
        assert_word(e->message, word);
        assert_non_null(e->remedy);
}

static PlanRequest request(PlanKind kind, const char *guest, const PciAddress *a, size_t n) {
        return (PlanRequest){ .kind = kind, .guest = (char *) guest, .controllers = (PciAddress *) a, .n_controllers = n };
}

static void assert_assign_refused(const Host *h, const char *name, const char *word) {
        const PlanRequest q = request(PLAN_ASSIGN, "nas", &hba, 1);

        assert_refused(h, &q, name, word);
}

static void assert_release_refused(const Host *h, const char *name, const char *word) {
        const PlanRequest q = request(PLAN_RELEASE, NULL, &hba, 1);

        assert_refused(h, &q, name, word);
}

static void carry_out(Host *h, PlanKind kind, const PciAddress *a, size_t n) {
        _cleanup_(plan_freep) Plan *p = plan_for(h, kind, "nas", a, n);

        machine_steps(h, p->steps, p->n_steps);
}

static Host *assigned_machine(const PciAddress *a, size_t n) {
        Host *h = machine_new();

        carry_out(h, PLAN_ASSIGN, a, n);
        return h;
}

static void set_override(Host *h, const PciAddress *a, const char *value) {
        PciFunction *f = machine_function(h, a);

        free(f->driver_override);
        f->driver_override = value ? strdup(value) : NULL;
}

/* -- assign ------------------------------------------------------------------------------------------------------------ */

static void one_controller_is_assigned(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);

        (void) state;
        assert_steps(p, "hold disk sda (SERIAL-A) behind 0000:03:00.0\n"
                        "hold disk sdb (SERIAL-B) behind 0000:03:00.0\n"
                        "flush disk sda (SERIAL-A) behind 0000:03:00.0\n"
                        "flush disk sdb (SERIAL-B) behind 0000:03:00.0\n"
                        "unbind 0000:03:00.0 from ahci\n"
                        "set the driver override of 0000:03:00.0 to vfio-pci\n"
                        "bind 0000:03:00.0 to vfio-pci\n"
                        "verify IOMMU group 20 with VFIO\n"
                        "record the assignment of 0000:03:00.0\n"
                        "attach 0000:03:00.0 to the definition of guest nas\n");
        assert_string_equal(p->guest, "nas");
        assert_int_equal(p->n_controllers, 1);
        assert_true(p->findings.n > 0);
        assert_word(p->notes[0], "reboot");
        assert_word(p->notes[1], "pinned");
        machine_steps(h, p->steps, p->n_steps);
        const Assigned *a = host_find_assigned(h, &hba);
        assert_non_null(a);
        assert_string_equal(a->host_driver, "ahci");
        assert_int_equal(a->n_disk_serials, 2);
        assert_int_equal(host_controller_state(h, machine_function(h, &hba), a), CONTROLLER_ATTACHED);
}

static void a_group_goes_through_each_phase_together(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", twins, 2);

        (void) state;
        /* By serial number or WWN; one that is no text cannot be a name. */
        assert_steps(p, "hold disk sdc (naa.5000) behind 0000:05:01.0\n"
                        "hold disk sdd behind 0000:05:02.0\n"
                        "flush disk sdc (naa.5000) behind 0000:05:01.0\n"
                        "flush disk sdd behind 0000:05:02.0\n"
                        "unbind 0000:05:01.0 from ahci\n"
                        "unbind 0000:05:02.0 from ahci\n"
                        "set the driver override of 0000:05:01.0 to vfio-pci\n"
                        "set the driver override of 0000:05:02.0 to vfio-pci\n"
                        "bind 0000:05:01.0 to vfio-pci\n"
                        "bind 0000:05:02.0 to vfio-pci\n"
                        "verify IOMMU group 30 with VFIO\n"
                        "record the assignment of 0000:05:01.0\n"
                        "record the assignment of 0000:05:02.0\n"
                        "attach 0000:05:01.0 to the definition of guest nas\n"
                        "attach 0000:05:02.0 to the definition of guest nas\n");
}

static size_t count(const Plan *p, StepKind kind) {
        size_t n = 0;

        for (size_t i = 0; i < p->n_steps; i++)
                n += p->steps[i].kind == kind;
        return n;
}

static void each_group_is_verified_once(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", all_three, 3);

        (void) state;
        assert_int_equal(count(p, STEP_VERIFY), 2);
        assert_int_equal(count(p, STEP_HOLD), 4);
}

static void without_attach_the_definition_stays(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PlanRequest q = request(PLAN_ASSIGN, "nas", &hba, 1);
        _cleanup_(plan_freep) Plan *p = NULL, *attach = NULL;

        (void) state;
        q.no_attach = true;
        assert_int_equal(plan_make(h, &q, &p, NULL, NULL), 0);
        assert_int_equal(count(p, STEP_ATTACH), 0);
        machine_steps(h, p->steps, p->n_steps);
        /* Reserved by our own record: only the attach is left to do. */
        attach = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        assert_steps(attach, "verify IOMMU group 20 with VFIO\n"
                             "attach 0000:03:00.0 to the definition of guest nas\n");
}

static void no_attach_needs_no_libvirt_and_no_shut_off_guest(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PlanRequest q = request(PLAN_ASSIGN, "other", &hba, 1);
        _cleanup_(plan_freep) Plan *p = NULL, *unknown = NULL;

        (void) state;
        q.no_attach = true;
        assert_int_equal(plan_make(h, &q, &p, NULL, NULL), 0);
        q.guest = (char *) "anything";
        assert_refused(h, &q, "no-such-guest", "anything");
        /* libvirt that does not answer may have guests with the controller, one that was never there has none */
        h->guests_known = false;
        h->guests_problem = strdup("it does not answer");
        assert_refused(h, &q, "refused", "guest-conflict could not be checked");
        h->guests_known = true;
        h->n_guests = 0;
        assert_int_equal(plan_make(h, &q, &unknown, NULL, NULL), 0);
        h->n_guests = 2;
}

static void what_could_not_be_checked_is_refused(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();

        (void) state;
        h->uses_known = false;
        assert_assign_refused(h, "refused", "host-disk-use could not be checked");
        h->uses_known = true;
        h->vfio_pci = TRI_UNKNOWN;
        assert_assign_refused(h, "refused", "vfio-available could not be checked");
        h->vfio_pci = TRI_YES;
        for (size_t i = 0; i < h->n_groups; i++)
                h->groups[i].regions_known = false;
        assert_assign_refused(h, "refused", "reserved-region could not be checked");
}

static void after_a_reboot_it_is_assigned_again(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        machine_reboot(h);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        assert_int_equal(count(p, STEP_HOLD), 2);
        assert_int_equal(count(p, STEP_BIND), 1);
        assert_int_equal(count(p, STEP_STORE), 0);
        assert_int_equal(count(p, STEP_ATTACH), 0);
        machine_steps(h, p->steps, p->n_steps);
        assert_assign_refused(h, "already-assigned", "already assigned to guest nas");
}

static void other_disks_after_a_reboot_are_recorded(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        machine_reboot(h);
        h->disks[0].serial[0] = 'X';
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        assert_int_equal(count(p, STEP_STORE), 1);
        machine_steps(h, p->steps, p->n_steps);
        /* In the order of the serials, whatever the kernel calls the disks. */
        assert_string_equal(h->assigned[0].disk_serials[0], "SERIAL-B");
        assert_string_equal(h->assigned[0].disk_serials[1], "XERIAL-A");
}

static void a_controller_without_driver_is_assigned(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();

        (void) state;
        machine_set_driver(h, &hba, NULL);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        assert_int_equal(count(p, STEP_UNBIND), 0);
        assert_int_equal(count(p, STEP_BIND), 1);
        machine_steps(h, p->steps, p->n_steps);
        _cleanup_(plan_freep) Plan *back = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        _cleanup_free_ char *text = describe(back);
        assert_word(text, "let the host's drivers bind 0000:03:00.0");
        machine_steps(h, back->steps, back->n_steps);
}

/* -- what assign refuses ----------------------------------------------------------------------------------------------- */

static void malformed_requests_are_refused(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PciAddress many[65] = {}, twice[] = { hba, hba };
        const PciAddress absent = { 0, 0x7f, 0, 0 }, port = { 0, 0, 2, 0 };
        PlanRequest q;

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i].bus = (uint8_t) i;
        q = request(PLAN_ASSIGN, "nas", NULL, 0);
        assert_refused(h, &q, "no-controllers", "no controller");
        q = request(PLAN_ASSIGN, NULL, &hba, 1);
        assert_refused(h, &q, "no-guest", "no guest");
        q = request(PLAN_RELEASE, NULL, NULL, 0);
        assert_refused(h, &q, "no-guest", "no guest");
        q = request(PLAN_ASSIGN, "nas", many, 65);
        assert_refused(h, &q, "too-many-controllers", "65");
        q = request(PLAN_ASSIGN, "nas", twice, 2);
        assert_refused(h, &q, "duplicate-controller", "0000:03:00.0");
        q = request(PLAN_ASSIGN, "nas", &absent, 1);
        assert_refused(h, &q, "no-such-device", "0000:7f:00.0");
        q = request(PLAN_ASSIGN, "nas", &port, 1);
        assert_refused(h, &q, "not-a-controller", "0000:00:02.0");
}

static void unready_guests_are_refused(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PlanRequest q = request(PLAN_ASSIGN, "nosuch", &hba, 1);

        (void) state;
        assert_refused(h, &q, "no-such-guest", "nas, other");
        machine_guest(h, "nas")->state = GUEST_PAUSED;
        assert_assign_refused(h, "guest-paused", "nas is paused");
        machine_guest(h, "nas")->state = GUEST_SHUT_OFF;
        machine_guest(h, "nas")->managed_save = TRI_YES;
        assert_assign_refused(h, "managed-save", "nas");
        machine_guest(h, "nas")->managed_save = TRI_NO;
        machine_guest(h, "nas")->persistent = false;
        assert_assign_refused(h, "transient-guest", "nas");
        h->guests_known = false;
        h->guests_problem = strdup("the socket is not there");
        assert_assign_refused(h, "no-libvirt", "the socket is not there");
}

static void foreign_bindings_are_refused(void **state) {
        static const char *const drivers[] = { "vfio-pci", "pci-stub", "mlx5-vfio-pci", "uio_pci_generic", "igb_uio" };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(drivers); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                machine_set_driver(h, &hba, drivers[i]);
                assert_assign_refused(h, "foreign", drivers[i]);
        }
        _cleanup_(host_freep) Host *h = machine_new();
        set_override(h, &hba, "vfio-pci");
        assert_assign_refused(h, "foreign", "override of 0000:03:00.0 is vfio-pci");
        _cleanup_(host_freep) Host *ours = assigned_machine(&hba, 1);
        set_override(ours, &hba, "nouveau");
        assert_assign_refused(ours, "foreign", "nouveau");
        machine_set_driver(ours, &hba, "ahci");
        set_override(ours, &hba, "vfio-pci");
        assert_assign_refused(ours, "foreign", "although");
        set_override(ours, &hba, NULL);
        machine_set_driver(ours, &hba, "pci-stub");
        assert_assign_refused(ours, "foreign", "pci-stub");
}

static void assigned_controllers_are_refused(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        assert_assign_refused(h, "already-assigned", "0000:03:00.0 is already assigned to guest nas");
        machine_function(h, &hba)->revision++;
        assert_assign_refused(h, "mismatch", "0000:03:00.0");
        machine_function(h, &hba)->revision--;
        free(h->assigned[0].guest);
        h->assigned[0].guest = strdup("somebody");
        assert_assign_refused(h, "already-assigned", "guest somebody");
}

static void use_disk(Host *h, size_t i, const char *chain) {
        h->disks[i].uses = calloc(1, sizeof *h->disks[i].uses);
        h->disks[i].n_uses = 1;
        h->disks[i].uses[0] = (DiskUse){ .kind = DISK_USE_MOUNT, .chain = strdup(chain) };
}

static void failed_checks_refuse_and_are_told(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        const PlanRequest q = request(PLAN_ASSIGN, "nas", &hba, 1);
        _cleanup_findings_ FindingList findings = {};
        _cleanup_(plan_freep) Plan *p = NULL;
        _cleanup_error_ Error *e = NULL;

        (void) state;
        use_disk(h, 0, "sda1 → /srv");
        assert_int_equal(plan_make(h, &q, &p, &findings, &e), -EPERM);
        assert_string_equal(e->name, "refused");
        assert_word(e->message, "sda");
        assert_word(e->message, "/srv");
        assert_non_null(e->remedy);
        assert_int_equal(finding_list_verdict(&findings), VERDICT_FAIL);
        const PlanRequest alone = request(PLAN_ASSIGN, "nas", &twin1, 1);
        assert_refused(h, &alone, "refused", "0000:05:01.0");
}

static void findings_come_with_the_plan_too(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        const PlanRequest q = request(PLAN_ASSIGN, "nas", &hba, 1);
        _cleanup_findings_ FindingList findings = {};
        _cleanup_(plan_freep) Plan *p = NULL;

        (void) state;
        assert_int_equal(plan_make(h, &q, &p, &findings, NULL), 0);
        assert_int_equal(findings.n, p->findings.n);
        assert_string_equal(findings.items[0].message, p->findings.items[0].message);
        assert_ptr_not_equal(findings.items[0].message, p->findings.items[0].message);
}

static void only_acceptable_checks_are_accepted(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PlanRequest q = request(PLAN_ASSIGN, "nas", &hba, 1);
        char *accept[] = { (char *) "host-disk-use" };

        (void) state;
        q.accept = accept;
        q.n_accept = 1;
        assert_refused(h, &q, "not-acceptable", "host-disk-use");
        accept[0] = (char *) "no-such";
        assert_refused(h, &q, "no-such-check", "no-such");
}

/* -- release ----------------------------------------------------------------------------------------------------------- */

static void release_is_the_way_back(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_free_ char *original = machine_text(h);

        (void) state;
        carry_out(h, PLAN_ASSIGN, &hba, 1);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_steps(p, "detach 0000:03:00.0 from the definition of guest nas\n"
                        "unbind 0000:03:00.0 from vfio-pci\n"
                        "clear the driver override vfio-pci of 0000:03:00.0\n"
                        "bind 0000:03:00.0 to ahci\n"
                        "remove the record of the assignment of 0000:03:00.0\n");
        assert_string_equal(p->guest, "nas");
        machine_steps(h, p->steps, p->n_steps);
        _cleanup_free_ char *now = machine_text(h);
        assert_string_equal(now, original);
}

static void all_of_a_guest_are_released(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(all_three, 3);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, "nas", NULL, 0);

        (void) state;
        assert_int_equal(p->n_controllers, 3);
        assert_int_equal(count(p, STEP_UNSTORE), 3);
        const PlanRequest q = request(PLAN_RELEASE, "other", NULL, 0);
        assert_refused(h, &q, "not-assigned", "other");
}

static void what_is_not_assigned_is_not_released(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(twins, 2);
        PciAddress both[] = { twin1, twin2 };
        PlanRequest q = request(PLAN_RELEASE, "other", twins, 2);

        (void) state;
        assert_release_refused(h, "not-assigned", "0000:03:00.0");
        assert_refused(h, &q, "not-assigned", "guest nas, not to other");
        free(h->assigned[1].guest);
        h->assigned[1].guest = strdup("other");
        q = request(PLAN_RELEASE, NULL, both, 2);
        assert_refused(h, &q, "several-guests", "other");
}

/* Where hba is in the guest "nas", and where another controller is. */
#define OURS "0000:09:01.0"
#define OTHERS "0000:02:00.0"

/* The agent of "nas", which runs with hba, lists both disks and tells of one more use. */
static Host *running_machine(const char *serial, const char *controller, const char *what) {
        Host *h = assigned_machine(&hba, 1);
        Guest *g = machine_guest(h, "nas");

        g->state = GUEST_RUNNING;
        machine_plug(h, "nas", &hba, "ua-passthru-x");
        g->agent = TRI_YES;
        g->disks = calloc(2, sizeof *g->disks);
        g->n_disks = 2;
        g->disks[0] = (GuestDisk){ strdup("QEMU_HARDDISK_SERIAL-A"), strdup(OURS) };
        g->disks[1] = (GuestDisk){ strdup("SERIAL-B"), strdup(OURS) };
        if (what) {
                g->uses = calloc(1, sizeof *g->uses);
                g->uses[0] = (GuestUse){ serial ? strdup(serial) : NULL, controller ? strdup(controller) : NULL, strdup(what) };
                g->n_uses = 1;
        }
        return h;
}

static void a_running_guest_gets_it_plugged_in(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();

        (void) state;
        machine_guest(h, "nas")->state = GUEST_RUNNING;
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_ASSIGN, "nas", &hba, 1);
        assert_int_equal(p->steps[p->n_steps - 2].kind, STEP_ATTACH);
        assert_int_equal(p->steps[p->n_steps - 1].kind, STEP_PLUG);
        machine_steps(h, p->steps, p->n_steps);
        assert_assign_refused(h, "already-assigned", "already assigned to guest nas");
        machine_guest(h, "nas")->owner = strdup("KubeVirt");
        machine_set_driver(h, &hba, NULL);
        assert_assign_refused(h, "foreign-guest", "KubeVirt");
}

static void a_running_guest_is_asked_for_it(void **state) {
        _cleanup_(host_freep) Host *h = running_machine("SERIAL-C", OTHERS, "mounted at / (vda1)");

        (void) state;
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_steps(p, "unplug 0000:03:00.0 from the running guest nas\n"
                        "detach 0000:03:00.0 from the definition of guest nas\n"
                        "unbind 0000:03:00.0 from vfio-pci\n"
                        "clear the driver override vfio-pci of 0000:03:00.0\n"
                        "bind 0000:03:00.0 to ahci\n"
                        "remove the record of the assignment of 0000:03:00.0\n");
}

static void what_a_guest_uses_is_not_unplugged(void **state) {
        static const struct {
                const char *serial, *controller, *what, *name;
        } cases[] = {
                { "SERIAL-A", OURS, "mounted at /mnt/tank (sda1)", "used-by-guest" },
                { "QEMU_HARDDISK_SERIAL-B", NULL, "member of the imported pool tank (/dev/sdb1)", "used-by-guest" },
                { "ADDED-LATER", OURS, "mounted at /mnt/new (sdc1)", "used-by-guest" },
                { NULL, NULL, "a disk that is not told", "unplug-unknown" },
                { "SERIAL-C", NULL, "a controller that is not told", "unplug-unknown" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = running_machine(cases[i].serial, cases[i].controller, cases[i].what);
                _cleanup_(plan_freep) Plan *forced = NULL;
                PlanRequest q = request(PLAN_RELEASE, NULL, &hba, 1);
                assert_refused(h, &q, cases[i].name, cases[i].what);
                q.force_unplug = true;
                assert_int_equal(plan_make(h, &q, &forced, NULL, NULL), 0);
                assert_int_equal(forced->steps[0].kind, STEP_UNPLUG);
        }
}

static void a_forced_plan_is_another_plan(void **state) {
        _cleanup_(host_freep) Host *h = running_machine(NULL, NULL, NULL);
        _cleanup_(plan_freep) Plan *calm = NULL, *forced = NULL;
        PlanRequest q = request(PLAN_RELEASE, NULL, &hba, 1);

        (void) state;
        assert_int_equal(plan_make(h, &q, &calm, NULL, NULL), 0);
        q.force_unplug = true;
        assert_int_equal(plan_make(h, &q, &forced, NULL, NULL), 0);
        assert_int_equal(calm->n_steps, forced->n_steps);
        assert_true(forced->forced && !calm->forced);
        assert_non_null(strstr(forced->notes[0], "--force-unplug"));
        _cleanup_free_ char *one = plan_digest(calm), *other = plan_digest(forced);
        assert_string_not_equal(one, other);
}

static void without_the_agents_word_nothing_is_unplugged(void **state) {
        _cleanup_(host_freep) Host *h = running_machine(NULL, NULL, NULL);
        Guest *g = machine_guest(h, "nas");

        (void) state;
        g->agent = TRI_NO;
        g->agent_problem = strdup("its agent does not answer");
        assert_release_refused(h, "unplug-unknown", "does not answer");
        g->agent = TRI_UNKNOWN;
        assert_release_refused(h, "unplug-unknown", "nas");
        g->agent = TRI_YES;
        /* A disk that it does not list would not be recognised in use either. */
        free(g->disks[1].serial);
        g->disks[1].serial = strdup("XSERIAL-B");
        assert_release_refused(h, "unplug-unknown", "does not list disk SERIAL-B");
        memmove(g->disks[1].serial, "SERIAL-B", sizeof "SERIAL-B");
        for (size_t i = 0; i < g->n_disks; i++) {
                free(g->disks[i].controller);
                g->disks[i].controller = NULL;
        }
        assert_release_refused(h, "unplug-unknown", "behind which controller");
        h->assigned[0].n_disk_serials = 0;
        assert_release_refused(h, "unplug-unknown", "no serial numbers");
        h->assigned[0].n_disk_serials = 2;
}

static void guests_that_cannot_give_it_back_keep_it(void **state) {
        _cleanup_(host_freep) Host *h = running_machine(NULL, NULL, NULL);
        Guest *g = machine_guest(h, "nas");

        (void) state;
        g->state = GUEST_PAUSED;
        assert_release_refused(h, "guest-paused", "nas is paused");
        g->state = GUEST_RUNNING;
        free(g->devices[0].alias);
        g->devices[0].alias = NULL;
        assert_release_refused(h, "foreign", "not from passthru");
        g->state = GUEST_SHUT_OFF;
        machine_plug(h, "other", &hba, NULL);
        assert_release_refused(h, "guest-running", "other is running");
}

static void one_of_a_group_leaves_the_guest_only(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(twins, 2);
        const PlanRequest both = request(PLAN_RELEASE, NULL, twins, 2);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &twin1, 1), *rest = NULL;

        (void) state;
        assert_steps(p, "detach 0000:05:01.0 from the definition of guest nas\n");
        assert_word(p->notes[0], "stays reserved");
        machine_steps(h, p->steps, p->n_steps);
        assert_int_equal(host_controller_state(h, machine_function(h, &twin1), host_find_assigned(h, &twin1)),
                         CONTROLLER_RESERVED);
        assert_int_equal(plan_make(h, &both, &rest, NULL, NULL), 0);
        assert_int_equal(count(rest, STEP_BIND), 2);
        assert_int_equal(count(rest, STEP_DETACH), 1);
}

static void a_reserved_one_leaves_a_running_guest_alone(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        PlanRequest q = request(PLAN_ASSIGN, "other", &hba, 1);
        _cleanup_(plan_freep) Plan *p = NULL;

        (void) state;
        q.no_attach = true;
        assert_int_equal(plan_make(h, &q, &p, NULL, NULL), 0);
        machine_steps(h, p->steps, p->n_steps);
        _cleanup_(plan_freep) Plan *back = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_int_equal(count(back, STEP_DETACH), 0);
}

static void part_of_a_group_stays_together(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(twins, 2);
        const PlanRequest q = request(PLAN_RELEASE, NULL, &twin1, 1);

        (void) state;
        machine_guest(h, "nas")->devices[0].in_config = machine_guest(h, "nas")->devices[1].in_config = false;
        assert_refused(h, &q, "group-shared", "0000:05:02.0");
        /* When the host has them both already nothing is lost. */
        machine_reboot(h);
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &twin1, 1);
        assert_int_equal(count(p, STEP_BIND), 0);
}

static void other_hardware_is_not_touched(void **state) {
        static const char expected[] = "detach 0000:03:00.0 from the definition of guest nas\n"
                                       "remove the record of the assignment of 0000:03:00.0\n";
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        machine_function(h, &hba)->device++;
        _cleanup_(plan_freep) Plan *other = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_steps(other, expected);
        assert_word(other->notes[0], "0000:03:00.0");
        machine_function(h, &hba)->address.bus = 4;
        _cleanup_(plan_freep) Plan *missing = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_steps(missing, expected);
}

/* A card that came into the group bars assigning it again, but not giving it back. */
static void a_changed_group_can_be_released(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);
        Assigned *a = &h->assigned[0];

        (void) state;
        a->group_members = reallocarray(a->group_members, a->n_group_members + 1, sizeof *a->group_members);
        a->group_members[a->n_group_members++] = twin1;
        assert_assign_refused(h, "mismatch", "IOMMU group");
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_int_equal(count(p, STEP_BIND), 1);
}

static void release_leaves_what_is_not_ours(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        free(machine_guest(h, "nas")->devices[0].alias);
        machine_guest(h, "nas")->devices[0].alias = NULL;
        _cleanup_(plan_freep) Plan *p = plan_for(h, PLAN_RELEASE, NULL, &hba, 1);
        assert_int_equal(count(p, STEP_DETACH), 0);
        assert_word(p->notes[0], "not from passthru");
        set_override(h, &hba, "nouveau");
        assert_release_refused(h, "foreign", "nouveau");
}

static void release_needs_to_know_the_guests(void **state) {
        _cleanup_(host_freep) Host *h = assigned_machine(&hba, 1);

        (void) state;
        h->guests_known = false;
        assert_release_refused(h, "no-libvirt", "libvirt is not there");
        h->guests_problem = strdup("it does not answer");
        assert_release_refused(h, "no-libvirt", "does not answer");
}

/* -- main -------------------------------------------------------------------------------------------------------------- */

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_controller_is_assigned),
                cmocka_unit_test(a_group_goes_through_each_phase_together),
                cmocka_unit_test(each_group_is_verified_once),
                cmocka_unit_test(without_attach_the_definition_stays),
                cmocka_unit_test(no_attach_needs_no_libvirt_and_no_shut_off_guest),
                cmocka_unit_test(what_could_not_be_checked_is_refused),
                cmocka_unit_test(after_a_reboot_it_is_assigned_again),
                cmocka_unit_test(other_disks_after_a_reboot_are_recorded),
                cmocka_unit_test(a_controller_without_driver_is_assigned),
                cmocka_unit_test(malformed_requests_are_refused),
                cmocka_unit_test(unready_guests_are_refused),
                cmocka_unit_test(foreign_bindings_are_refused),
                cmocka_unit_test(assigned_controllers_are_refused),
                cmocka_unit_test(failed_checks_refuse_and_are_told),
                cmocka_unit_test(findings_come_with_the_plan_too),
                cmocka_unit_test(only_acceptable_checks_are_accepted),
                cmocka_unit_test(release_is_the_way_back),
                cmocka_unit_test(all_of_a_guest_are_released),
                cmocka_unit_test(what_is_not_assigned_is_not_released),
                cmocka_unit_test(a_running_guest_gets_it_plugged_in),
                cmocka_unit_test(a_running_guest_is_asked_for_it),
                cmocka_unit_test(what_a_guest_uses_is_not_unplugged),
                cmocka_unit_test(a_forced_plan_is_another_plan),
                cmocka_unit_test(without_the_agents_word_nothing_is_unplugged),
                cmocka_unit_test(guests_that_cannot_give_it_back_keep_it),
                cmocka_unit_test(one_of_a_group_leaves_the_guest_only),
                cmocka_unit_test(a_reserved_one_leaves_a_running_guest_alone),
                cmocka_unit_test(part_of_a_group_stays_together),
                cmocka_unit_test(other_hardware_is_not_touched),
                cmocka_unit_test(a_changed_group_can_be_released),
                cmocka_unit_test(release_leaves_what_is_not_ours),
                cmocka_unit_test(release_needs_to_know_the_guests),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
