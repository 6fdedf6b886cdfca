/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each kind of step, as far as plain files go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "support-tree.h"

/* name NULL: none, so that an undo stops there. */
static void assert_refused(Tree *m, StepFunction f, const Step *s, const char *name, const char *word) {
        _cleanup_error_ Error *e = NULL;

        assert_true(f(&m->context, s, &e) < 0);
        assert_non_null(e);
        if (!strstr(e->message, word))
                fail_msg("\"%s\" does not say \"%s\"", e->message, word);
        if (!str_equal(e->name, name))
                fail_msg("\"%s\" is called %s", e->message, e->name ? e->name : "nothing");
}

static void assert_works(Tree *m, StepFunction f, const Step *s) {
        _cleanup_error_ Error *e = NULL;

        int r = f(&m->context, s, &e);
        if (r < 0)
                fail_msg("%s", e->message);
}

static void override_is_written_and_cleared(void **state) {
        Tree *m = *state;

        assert_works(m, step_override, tree_add_step(m, STEP_OVERRIDE, NULL, "vfio-pci"));
        tree_assert_file(m, DEVICE "/driver_override", "vfio-pci");
        assert_works(m, step_override, tree_add_step(m, STEP_OVERRIDE, "vfio-pci", NULL));
        tree_assert_file(m, DEVICE "/driver_override", "(null)");
        assert_int_equal(m->writes, 2);
}

static void foreign_override_is_left_alone(void **state) {
        Tree *m = *state;
        const Step *s = tree_add_step(m, STEP_OVERRIDE, NULL, "vfio-pci");

        tree_put(m, DEVICE "/driver_override", "pci-stub\n");
        assert_refused(m, step_override, s, STEP_ERROR_FOREIGN, "pci-stub");
        /* Somebody else's vfio-pci is as foreign: it would be cleared by our undo. */
        tree_put(m, DEVICE "/driver_override", "vfio-pci\n");
        assert_refused(m, step_override, s, STEP_ERROR_FOREIGN, "vfio-pci");
        assert_int_equal(m->writes, 0);
}

static void nothing_is_written_to_other_hardware(void **state) {
        Tree *m = *state;
        const Step *override = tree_add_step(m, STEP_OVERRIDE, NULL, "vfio-pci"), *unbind, *bind;

        tree_put(m, DEVICE "/device", "0x2923\n");
        assert_refused(m, step_override, override, STEP_ERROR_MISMATCH, "0x2923");
        unbind = tree_add_step(m, STEP_UNBIND, "ahci", NULL);
        assert_refused(m, step_unbind, unbind, STEP_ERROR_MISMATCH, ADDRESS);
        tree_set_driver(m, NULL);
        bind = tree_add_step(m, STEP_BIND, NULL, "ahci");
        assert_refused(m, step_bind, bind, STEP_ERROR_MISMATCH, ADDRESS);
        assert_int_equal(m->writes, 0);
}

static void the_record_tells_twins_apart(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *text = tree_record(m, "nas");
        char *path = strstr(text, "02.0/00.0");

        assert_non_null(path);
        path[1] = '3';
        tree_add_step(m, STEP_UNSTORE, text, NULL);
        assert_refused(m, step_override, tree_add_step(m, STEP_OVERRIDE, NULL, "vfio-pci"), STEP_ERROR_MISMATCH,
                       "port path");
        assert_int_equal(m->writes, 0);
}

static void absent_controller_is_named(void **state) {
        Tree *m = *state;

        assert_int_equal(unlinkat(m->root, "sys/bus/pci/devices/" ADDRESS, 0), 0);
        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL), STEP_ERROR_MISSING, ADDRESS);
}

static void unbind_is_verified(void **state) {
        Tree *m = *state;

        m->fault = FAULT_UNBIND_IGNORED;
        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL), NULL, "still bound to ahci");
        m->fault = FAULT_NONE;
        assert_works(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL));
        tree_assert_driver(m, NULL);
}

static void unbind_takes_only_the_planned_driver(void **state) {
        Tree *m = *state;

        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "vfio-pci", NULL), STEP_ERROR_FOREIGN,
                       "bound to ahci");
        tree_set_driver(m, NULL);
        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL), STEP_ERROR_FOREIGN,
                       "bound to none");
        assert_int_equal(m->writes, 0);
}

static void undo_unbinds_whatever_host_driver_came(void **state) {
        Tree *m = *state;
        const Step *s = tree_add_step(m, STEP_UNBIND, "", NULL);

        m->context.undoing = true;
        tree_set_driver(m, "vfio-pci");
        assert_refused(m, step_unbind, s, STEP_ERROR_FOREIGN, "vfio-pci");
        tree_set_driver(m, "ahci");
        assert_works(m, step_unbind, s);
        tree_assert_driver(m, NULL);
}

static void disk_that_came_after_the_plan_stops_the_unbind(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL), "refused", "sda");
        assert_int_equal(m->writes, 0);
        tree_assert_driver(m, "ahci");
}

static void undo_leaves_disks_that_cannot_be_held(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "dev/sda", "not a device");
        m->context.undoing = true;
        assert_refused(m, step_unbind, tree_add_step(m, STEP_UNBIND, "ahci", NULL), STEP_ERROR_MISMATCH, "sda");
        assert_int_equal(m->writes, 0);
        tree_assert_driver(m, "ahci");
}

static void hold_refuses_other_disks_and_wrong_nodes(void **state) {
        Tree *m = *state;
        Step *s = tree_add_step(m, STEP_HOLD, NULL, NULL);

        tree_put_disk(m);
        tree_put(m, "dev/sda", "not a device");
        assert_refused(m, step_hold, s, STEP_ERROR_MISSING, "not behind " ADDRESS);
        free(s->subject);
        s->subject = strdup("sda");
        s->disk = strdup("sda");
        assert_refused(m, step_hold, s, STEP_ERROR_MISMATCH, "8:0");
        assert_int_equal(m->context.n_holds, 0);
}

static void bind_is_verified(void **state) {
        Tree *m = *state;
        const Step *s = tree_add_step(m, STEP_BIND, NULL, "vfio-pci");

        tree_set_driver(m, NULL);
        assert_refused(m, step_bind, s, NULL, "driver_override is none");
        tree_put(m, DEVICE "/driver_override", "vfio-pci");
        m->fault = FAULT_BIND_IGNORED;
        assert_refused(m, step_bind, s, NULL, "no driver instead of vfio-pci");
        m->fault = FAULT_NONE;
        assert_works(m, step_bind, s);
        tree_assert_driver(m, "vfio-pci");
        /* Bound before its turn, by the load of the module: our override did that. */
        m->writes = 0;
        assert_works(m, step_bind, s);
        tree_set_driver(m, "ahci");
        assert_refused(m, step_bind, s, STEP_ERROR_FOREIGN, "bound to ahci already");
        assert_int_equal(m->writes, 0);
}

static void bind_to_the_host_minds_the_override(void **state) {
        Tree *m = *state;
        const Step *s = tree_add_step(m, STEP_BIND, NULL, "ahci");

        tree_set_driver(m, NULL);
        tree_put(m, DEVICE "/driver_override", "pci-stub");
        assert_refused(m, step_bind, s, STEP_ERROR_FOREIGN, "pci-stub");
        /* Ours: an undo that left it there would leave the controller without a driver. */
        tree_put(m, DEVICE "/driver_override", "vfio-pci");
        assert_refused(m, step_bind, s, NULL, "vfio-pci");
        assert_int_equal(m->writes, 0);
        tree_put(m, DEVICE "/driver_override", "(null)");
        assert_works(m, step_bind, s);
        tree_assert_driver(m, "ahci");
}

static void openers_are_named(void **state) {
        Tree *m = *state;
        const DeviceNumber full = { .character = true, .major = 1, .minor = 7 }, block = { .major = 1, .minor = 7 };
        _cleanup_free_ char *who = NULL;
        char own[64];

        tree_put(m, "proc/4242/comm", "smartd\n");
        tree_put_link(m, "proc/4242/fd/0", "/dev/null");
        tree_put_link(m, "proc/4242/fd/3", "/dev/full");
        tree_put(m, "proc/4243/comm", "other\n");
        tree_put_link(m, "proc/4243/fd/0", "/dev/null");
        (void) snprintf(own, sizeof own, "proc/%ld/fd/3", (long) getpid());
        tree_put_link(m, own, "/dev/full");
        assert_int_equal(openers_find(m->root, &full, 1, &who, NULL), 0);
        assert_string_equal(who, "smartd (pid 4242)");
        free(TAKE_PTR(who));
        assert_int_equal(openers_find(m->root, &block, 1, &who, NULL), 0);
        assert_null(who);
}

/* A tape has no disk that could be held, and is opened after the plan was made. */
static void an_open_tape_keeps_its_controller(void **state) {
        static const char tape[] = DEVICE "/host0/target0:0:1/0:0:1:0/scsi_tape/st0";
        Tree *m = *state;
        const Step *s = tree_add_step(m, STEP_UNBIND, "ahci", NULL);
        char path[160];

        (void) snprintf(path, sizeof path, "%s/dev", tape);
        tree_put(m, path, "1:7\n"); /* as /dev/full has it */
        (void) snprintf(path, sizeof path, "../../../%s", tape + strlen("sys/"));
        tree_put_link(m, "sys/class/scsi_tape/st0", path + strlen("../"));
        tree_put(m, "proc/4242/comm", "tar\n");
        tree_put_link(m, "proc/4242/fd/3", "/dev/full");
        assert_refused(m, step_unbind, s, "refused", "tar (pid 4242)");
        tree_assert_driver(m, "ahci");
}

static void all_devices_of_a_disk_are_watched(void **state) {
        _cleanup_(device_list_clear) DeviceList list = {};
        _cleanup_free_ DeviceNumber *devices = NULL;
        const PciAddress controller = { 0, 3, 0, 0 };
        bool disk = false, partition = false, generic = false;
        Tree *m = *state;
        size_t n = 0;

        tree_put_disk(m);
        assert_int_equal(device_list_read(m->root, &list), 0);
        assert_int_equal(device_list_of_disk(&list, "sda", &controller, &devices, &n), 0);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
                disk |= !devices[i].character && devices[i].major == 8 && devices[i].minor == 0;
                partition |= !devices[i].character && devices[i].major == 8 && devices[i].minor == 1;
                generic |= devices[i].character && devices[i].major == 21;
        }
        assert_true(disk && partition && generic);
}

/* -- the store ----------------------------------------------------------------------------------------------------- */

static void assert_mode(const Tree *m, const char *path, unsigned mode) {
        struct stat st;

        assert_int_equal(fstatat(m->root, path, &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode & 07777, mode);
}

static void store_writes_and_unstore_leaves_no_trace(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *text = tree_record(m, "nas");
        const Step *s = tree_add_step(m, STEP_STORE, NULL, text);

        assert_works(m, step_store, s);
        tree_assert_file(m, STORE "/" ADDRESS ".json", text);
        assert_mode(m, "etc/passthru", 0700);
        assert_mode(m, STORE, 0700);
        assert_mode(m, STORE "/" ADDRESS ".json", 0600);
        assert_works(m, step_store, s);
        assert_works(m, step_unstore, tree_add_step(m, STEP_UNSTORE, text, NULL));
        assert_false(file_exists(m->root, "etc/passthru"));
        assert_works(m, step_unstore, tree_add_step(m, STEP_UNSTORE, text, NULL));
}

static void unstore_keeps_the_others(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *text = tree_record(m, "nas");

        tree_put(m, STORE "/0000:04:00.0.json", "{}");
        assert_works(m, step_store, tree_add_step(m, STEP_STORE, NULL, text));
        assert_works(m, step_unstore, tree_add_step(m, STEP_UNSTORE, text, NULL));
        tree_assert_file(m, STORE "/0000:04:00.0.json", "{}");
}

static void changed_assignments_are_left_alone(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *text = tree_record(m, "nas"), *other = tree_record(m, "other");

        tree_put(m, STORE "/" ADDRESS ".json", other);
        assert_refused(m, step_store, tree_add_step(m, STEP_STORE, NULL, text), STEP_ERROR_FOREIGN, ADDRESS);
        assert_refused(m, step_unstore, tree_add_step(m, STEP_UNSTORE, text, NULL), STEP_ERROR_FOREIGN, ADDRESS);
        tree_assert_file(m, STORE "/" ADDRESS ".json", other);
}

static void unwritable_store_is_named(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *text = tree_record(m, "nas");

        tree_put(m, "etc/passthru", "a file where the directory should be");
        assert_refused(m, step_store, tree_add_step(m, STEP_STORE, NULL, text), NULL, "/etc/passthru/assignments.d");
}

/* -- guests -------------------------------------------------------------------------------------------------------- */

/* libvirt's own test driver has one guest, which runs. */
static void guests_that_cannot_take_it_are_named(void **state) {
        Tree *m = *state;
        Step *s = tree_add_step(m, STEP_ATTACH, NULL, ADDRESS);

        m->context.libvirt_uri = "test:///default";
        assert_refused(m, step_attach, s, "no-such-guest", ADDRESS);
        free(s->subject);
        s->subject = strdup("test");
        assert_refused(m, step_attach, s, NULL, "the definition of guest test");
        assert_refused(m, step_plug, s, NULL, "the running guest test");
        assert_works(m, step_detach, s);
        assert_works(m, step_unplug, s);
        m->context.libvirt_uri = "qemu+unix:///system?socket=/nonexistent/socket";
        assert_refused(m, step_detach, s, "no-libvirt", "/nonexistent/socket");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(override_is_written_and_cleared),
                TREE_TEST(foreign_override_is_left_alone),
                TREE_TEST(nothing_is_written_to_other_hardware),
                TREE_TEST(the_record_tells_twins_apart),
                TREE_TEST(absent_controller_is_named),
                TREE_TEST(unbind_is_verified),
                TREE_TEST(unbind_takes_only_the_planned_driver),
                TREE_TEST(undo_unbinds_whatever_host_driver_came),
                TREE_TEST(disk_that_came_after_the_plan_stops_the_unbind),
                TREE_TEST(undo_leaves_disks_that_cannot_be_held),
                TREE_TEST(hold_refuses_other_disks_and_wrong_nodes),
                TREE_TEST(bind_is_verified),
                TREE_TEST(bind_to_the_host_minds_the_override),
                TREE_TEST(openers_are_named),
                TREE_TEST(an_open_tape_keeps_its_controller),
                TREE_TEST(all_devices_of_a_disk_are_watched),
                TREE_TEST(store_writes_and_unstore_leaves_no_trace),
                TREE_TEST(unstore_keeps_the_others),
                TREE_TEST(changed_assignments_are_left_alone),
                TREE_TEST(unwritable_store_is_named),
                TREE_TEST(guests_that_cannot_take_it_are_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
