/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is shown while libvirt does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/controller.h"
#include "probe/probe.h"
#include "support-tree.h"

/* A node that every machine has stands for the group's. */
#define GROUP_DEVICE "/dev/full"
#define GROUP_NUMBER "1:7\n"

static const char with_device[] =
        "<domain type='kvm'><name>nas</name><devices><hostdev mode='subsystem' type='pci' managed='no'>"
        "<source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source></hostdev></devices></domain>";

static void assign(Tree *m) {
        _cleanup_free_ char *record = tree_record(m, "nas");

        tree_set_driver(m, "vfio-pci");
        tree_put(m, STORE "/" ADDRESS ".json", record);
        tree_put(m, "sys/class/vfio/5/dev", GROUP_NUMBER);
        tree_put(m, "proc/4242/comm", "qemu-system-x86\n");
        tree_put_link(m, "proc/4242/fd/0", "/dev/null");
}

/* Without PROBE_GUESTS, as when libvirt is known to be silent. */
static void glance(Tree *m, ControllerState expected) {
        _cleanup_error_ Error *e = NULL;

        m->host = host_free(m->host);
        assert_int_equal(probe_host(m->root, PROBE_LIVE | PROBE_GLANCE, &m->host, &e), 0);
        m->context.host = m->host;
        assert_false(m->host->guests_known);
        const Assigned *a = &m->host->assigned[0];
        assert_int_equal(host_controller_state(m->host, host_find_function(m->host, &a->address), a), expected);
}

static void files_and_open_groups_tell(void **state) {
        Tree *m = *state;

        assign(m);
        glance(m, CONTROLLER_RESERVED);
        tree_put(m, "etc/libvirt/qemu/nas.xml", with_device);
        glance(m, CONTROLLER_ATTACHED);
        tree_put_link(m, "proc/4242/fd/9", GROUP_DEVICE);
        glance(m, CONTROLLER_RUNNING);
}

static void broken_files_hide_nothing_else(void **state) {
        Tree *m = *state;

        assign(m);
        tree_put(m, "etc/libvirt/qemu/nas.xml", "<domain><broken");
        glance(m, CONTROLLER_RESERVED);
}

static void status_says_that_guests_are_not_known(void **state) {
        Tree *m = *state;

        assign(m);
        glance(m, CONTROLLER_RESERVED);
        m->host->guests_problem = strdup("it does not answer");
        _cleanup_json_ json_t *status = host_status_to_json(m->host);
        const json_t *row = json_array_get(status, 0);
        assert_string_equal(json_string_value(json_object_get(row, "guests_problem")), "it does not answer");
        assert_non_null(strstr(json_string_value(json_object_get(row, "message")), "it does not answer"));
        _cleanup_json_ json_t *list = host_list_to_json(m->host);
        row = json_array_get(list, 0);
        assert_string_equal(json_string_value(json_object_get(row, "guests_problem")), "it does not answer");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(files_and_open_groups_tell),
                TREE_TEST(broken_files_hide_nothing_else),
                TREE_TEST(status_says_that_guests_are_not_known),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
