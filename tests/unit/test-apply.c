/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transaction: commit, undo, and recovery after a death at every write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "base/file.h"
#include "support-tree.h"

static Journal *open_journal(const Tree *m) {
        _cleanup_close_ int dir = dir_open(m->root, "/var/lib/passthru");
        _cleanup_error_ Error *e = NULL;
        Journal *j = NULL;

        if (journal_open(dir, 5000, &j, &e) < 0)
                fail_msg("%s", e->message);
        return j;
}

static void plan_assign(Tree *m, const char *record) {
        tree_add_step(m, STEP_UNBIND, "ahci", NULL);
        tree_add_step(m, STEP_OVERRIDE, NULL, "vfio-pci");
        tree_add_step(m, STEP_BIND, NULL, "vfio-pci");
        tree_add_step(m, STEP_STORE, NULL, record);
}

static void plan_release(Tree *m, const char *record) {
        m->plan->kind = PLAN_RELEASE;
        tree_add_step(m, STEP_UNBIND, "vfio-pci", NULL);
        tree_add_step(m, STEP_OVERRIDE, "vfio-pci", NULL);
        tree_add_step(m, STEP_BIND, NULL, "ahci");
        tree_add_step(m, STEP_UNSTORE, record, NULL);
}

static void assert_on_host(const Tree *m) {
        tree_assert_driver(m, "ahci");
        tree_assert_file(m, DEVICE "/driver_override", "(null)");
        assert_false(file_exists(m->root, "etc/passthru"));
}

static void assert_reserved(const Tree *m, const char *record) {
        tree_assert_driver(m, "vfio-pci");
        tree_assert_file(m, DEVICE "/driver_override", "vfio-pci");
        tree_assert_file(m, STORE "/" ADDRESS ".json", record);
}

static void make_reserved(Tree *m, const char *record) {
        char line[4096];

        tree_set_driver(m, "vfio-pci");
        tree_put(m, DEVICE "/driver_override", "vfio-pci");
        (void) snprintf(line, sizeof line, "%s\n", record);
        tree_put(m, STORE "/" ADDRESS ".json", line);
        tree_read(m);
}

static void assert_closed(Journal *j) {
        _cleanup_(transaction_freep) Transaction *t = NULL;

        assert_int_equal(journal_open_transaction(j, &t, NULL), 0);
        assert_null(t);
}

static void count_progress(void *userdata, size_t step, size_t total, const char *text) {
        size_t *n = userdata;

        assert_true(step < total);
        assert_true(*text);
        (*n)++;
}

static void whole_plan_is_committed(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_error_ Error *e = NULL;
        size_t n = 0;

        plan_assign(m, record);
        if (apply_run(&m->context, j, count_progress, &n, &e) < 0)
                fail_msg("%s", e->message);
        assert_int_equal(n, 4);
        assert_reserved(m, record);
        assert_closed(j);
}

static void assert_undone(Tree *m, Journal *j) {
        _cleanup_error_ Error *e = NULL;

        assert_true(apply_run(&m->context, j, NULL, NULL, &e) < 0);
        assert_non_null(e);
        if (!strstr(e->message, "undone"))
                fail_msg("%s", e->message);
        assert_closed(j);
}

static void failed_assign_is_undone(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);

        plan_assign(m, record);
        m->fault = FAULT_WRITE;
        for (m->at = 0; m->at < 3; m->at++) {
                m->writes = 0;
                assert_undone(m, j);
                assert_on_host(m);
        }
        m->fault = FAULT_NONE;
        /* A directory where the temporary file should be */
        tree_make_directories(m, STORE "/." ADDRESS ".json.new/");
        assert_undone(m, j);
        assert_int_equal(unlinkat(m->root, STORE "/." ADDRESS ".json.new", AT_REMOVEDIR), 0);
        store_tidy(&m->context);
        assert_on_host(m);
}

static void failed_release_is_undone(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);

        make_reserved(m, record);
        plan_release(m, record);
        m->fault = FAULT_WRITE;
        for (m->at = 0; m->at < 3; m->at++) {
                m->writes = 0;
                assert_undone(m, j);
                assert_reserved(m, record);
        }
}

static void failed_undo_is_told_and_recovered_later(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_error_ Error *e = NULL;
        _cleanup_(recovery_clear) Recovery recovery = {};

        plan_assign(m, record);
        m->fault = FAULT_BIND_IGNORED;
        assert_true(apply_run(&m->context, j, NULL, NULL, &e) < 0);
        assert_string_equal(e->name, "undo-failed");
        assert_non_null(strstr(e->message, "still to be done"));
        assert_non_null(e->remedy);
        m->fault = FAULT_NONE;
        assert_int_equal(apply_recover_in(&m->context, j, &recovery, NULL), 0);
        assert_true(recovery.needed);
        assert_true(recovery.complete);
        assert_on_host(m);
        assert_closed(j);
}

/* Once a guest that runs may write to the disks no undo may take them from it. */
static void failed_plug_undoes_nothing(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_error_ Error *e = NULL;

        plan_assign(m, record);
        tree_add_step(m, STEP_PLUG, NULL, ADDRESS);
        m->context.libvirt_uri = "nowhere:///";
        assert_true(apply_run(&m->context, j, NULL, NULL, &e) < 0);
        assert_string_equal(e->name, "not-plugged");
        assert_reserved(m, record);
        assert_closed(j);
}

/* Nobody knows what the definition of the guest holds then. */
static void without_libvirt_an_undo_waits(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_(recovery_clear) Recovery early = {}, late = {};
        _cleanup_error_ Error *e = NULL;

        plan_assign(m, record);
        tree_add_step(m, STEP_ATTACH, NULL, ADDRESS);
        m->context.libvirt_uri = "nowhere:///";
        assert_int_equal(renameat(m->root, "etc/libvirt", m->root, "etc/away"), 0);
        assert_true(apply_run(&m->context, j, NULL, NULL, &e) < 0);
        assert_string_equal(e->name, "undo-failed");
        assert_int_equal(apply_recover_in(&m->context, j, &early, NULL), 0);
        assert_false(early.complete);
        assert_reserved(m, record);
        assert_int_equal(renameat(m->root, "etc/away", m->root, "etc/libvirt"), 0);
        assert_int_equal(apply_recover_in(&m->context, j, &late, NULL), 0);
        assert_true(late.complete);
        assert_on_host(m);
        assert_closed(j);
}

static void recovery_has_nothing_to_do(void **state) {
        Tree *m = *state;
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_(recovery_clear) Recovery recovery = {};

        assert_int_equal(apply_recover_in(&m->context, j, &recovery, NULL), 0);
        assert_false(recovery.needed);
        assert_true(recovery.complete);
        assert_int_equal(m->writes, 0);
}

/* Runs the plan in a child that dies at the write number `at`. */
static void die_at(Tree *m, Fault fault, int at) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                Journal *j = open_journal(m);
                m->fault = fault;
                m->at = at;
                m->writes = 0;
                (void) apply_run(&m->context, j, NULL, NULL, NULL);
                _exit(1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void recover(Tree *m) {
        _cleanup_(journal_closep) Journal *j = open_journal(m);
        _cleanup_(recovery_clear) Recovery recovery = {}, again = {};
        StepContext c = { .root = m->root, .sysroot = m->path, .write = m->context.write, .write_userdata = m };

        m->fault = FAULT_NONE;
        assert_int_equal(apply_recover_in(&c, j, &recovery, NULL), 0);
        assert_true(recovery.needed);
        if (!recovery.complete)
                fail_msg("%s", recovery.message);
        assert_closed(j);
        assert_int_equal(apply_recover_in(&c, j, &again, NULL), 0);
        assert_false(again.needed);
}

static void interrupted_assign_is_recovered(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");

        plan_assign(m, record);
        for (int at = 0; at < 3; at++) {
                die_at(m, FAULT_DIE_BEFORE, at);
                recover(m);
                assert_on_host(m);
                die_at(m, FAULT_DIE_AFTER, at);
                /* The store was being made just then, and its first file written. */
                tree_put(m, STORE "/." ADDRESS ".json.new", "{");
                recover(m);
                assert_on_host(m);
        }
}

static void interrupted_release_is_recovered(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");

        make_reserved(m, record);
        plan_release(m, record);
        for (int at = 0; at < 3; at++) {
                die_at(m, FAULT_DIE_BEFORE, at);
                recover(m);
                assert_reserved(m, record);
                die_at(m, FAULT_DIE_AFTER, at);
                recover(m);
                assert_reserved(m, record);
        }
}

/* A reboot gives the controller back by itself: drivers and overrides are the new boot's, not ours. */
static void reboot_voids_what_the_kernel_forgot(void **state) {
        Tree *m = *state;
        _cleanup_free_ char *record = tree_record(m, "nas");

        plan_assign(m, record);
        die_at(m, FAULT_DIE_AFTER, 2);
        tree_put(m, "proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
        tree_set_driver(m, "ahci");
        tree_put(m, DEVICE "/driver_override", "(null)\n");
        m->writes = 0;
        recover(m);
        assert_int_equal(m->writes, 0);
        assert_on_host(m);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(whole_plan_is_committed),
                TREE_TEST(failed_assign_is_undone),
                TREE_TEST(failed_release_is_undone),
                TREE_TEST(failed_undo_is_told_and_recovered_later),
                TREE_TEST(failed_plug_undoes_nothing),
                TREE_TEST(without_libvirt_an_undo_waits),
                TREE_TEST(recovery_has_nothing_to_do),
                TREE_TEST(interrupted_assign_is_recovered),
                TREE_TEST(interrupted_release_is_recovered),
                TREE_TEST(reboot_voids_what_the_kernel_forgot),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
