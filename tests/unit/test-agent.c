/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of a guest's agent. The guest may answer anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "probe/agent-parse.h"

#define SATA "\"bus-type\":\"sata\",\"pci-controller\":{\"domain\":0,\"bus\":9,\"slot\":1,\"function\":0}"
#define VIRTIO "\"bus-type\":\"virtio\",\"pci-controller\":{\"domain\":0,\"bus\":2,\"slot\":0,\"function\":0}"
#define UNKNOWN "\"bus-type\":\"unknown\",\"pci-controller\":{\"domain\":-1,\"bus\":-1,\"slot\":-1,\"function\":-1}"

static const char disks_reply[] =
        "{\"return\":[{\"name\":\"/dev/sda1\",\"partition\":true,\"dependencies\":[\"/dev/sda\"]},"
        "{\"name\":\"/dev/sda\",\"partition\":false,\"dependencies\":[],\"address\":{" SATA ",\"serial\":\"QEMU_A1\"}},"
        "{\"name\":\"/dev/vda\",\"partition\":false,\"dependencies\":[],\"address\":{" VIRTIO "}},"
        "{\"name\":\"/dev/dm-0\",\"partition\":false,\"dependencies\":[\"/dev/sda1\",\"/dev/vda\"]}]}";

static const char filesystems_reply[] =
        "{\"return\":[{\"name\":\"sda1\",\"mountpoint\":\"/mnt\",\"type\":\"ext4\",\"disk\":[{" SATA ","
        "\"serial\":\"QEMU_A1\",\"dev\":\"/dev/sda1\"}]},"
        "{\"name\":\"vda1\",\"mountpoint\":\"/\",\"type\":\"ext4\",\"disk\":[{" VIRTIO "}]},"
        "{\"name\":\"sdb\",\"mountpoint\":\"/srv\",\"type\":\"btrfs\",\"disk\":[{" UNKNOWN "}]},"
        "{\"name\":\"loop0\",\"mountpoint\":\"/snap\",\"type\":\"squashfs\",\"disk\":[]}]}";

static const char pools_output[] =
        "  pool: tank\n state: ONLINE\nconfig:\n\n\tNAME          STATE     READ WRITE CKSUM\n\ttank          ONLINE       0     0     0\n"
        "\t  mirror-0    ONLINE       0     0     0\n\t    /dev/sda1  ONLINE       0     0     0\n\t    /dev/sdz  ONLINE       0     0     0\n"
        "\nerrors: No known data errors\nswap: /dev/sda1\n";

static void assert_use(const Guest *g, size_t i, const char *serial, const char *controller, const char *word) {
        assert_true(i < g->n_uses);
        assert_true(str_equal(g->uses[i].serial, serial));
        assert_true(str_equal(g->uses[i].controller, controller));
        if (!strstr(g->uses[i].what, word))
                fail_msg("\"%s\" does not say \"%s\"", g->uses[i].what, word);
}

static void disks_and_what_holds_them_are_read(void **state) {
        _cleanup_(agent_disks_clear) AgentDisks d = {};
        _cleanup_(guest_clear) Guest g = {};

        (void) state;
        assert_int_equal(agent_parse_disks(disks_reply, &d, &g, NULL), 0);
        assert_int_equal(g.n_disks, 2);
        assert_string_equal(g.disks[0].serial, "QEMU_A1");
        assert_string_equal(g.disks[0].controller, "0000:09:01.0");
        assert_null(g.disks[1].serial);
        assert_int_equal(d.n, 3);
        assert_int_equal(g.n_uses, 2);
        assert_use(&g, 0, "QEMU_A1", "0000:09:01.0", "held by /dev/dm-0");
        assert_use(&g, 1, NULL, "0000:02:00.0", "held by /dev/dm-0");
}

static void mounts_are_uses(void **state) {
        _cleanup_(guest_clear) Guest g = {};

        (void) state;
        assert_int_equal(agent_parse_filesystems(filesystems_reply, &g, NULL), 0);
        assert_int_equal(g.n_uses, 4);
        assert_use(&g, 0, "QEMU_A1", "0000:09:01.0", "mounted at /mnt (sda1)");
        assert_use(&g, 1, NULL, "0000:02:00.0", "mounted at / (vda1)");
        assert_use(&g, 2, NULL, NULL, "btrfs mounted at /srv");
        assert_use(&g, 3, NULL, NULL, "mounted at /srv");
}

static void members_of_pools_and_swap_are_uses(void **state) {
        _cleanup_(agent_disks_clear) AgentDisks d = {};
        _cleanup_(guest_clear) Guest g = {};

        (void) state;
        assert_int_equal(agent_parse_disks(disks_reply, &d, &g, NULL), 0);
        assert_int_equal(agent_parse_pools(pools_output, &d, &g, NULL), 0);
        assert_int_equal(g.n_uses, 5);
        assert_use(&g, 2, "QEMU_A1", "0000:09:01.0", "pool tank (/dev/sda1)");
        assert_use(&g, 3, NULL, NULL, "/dev/sdz");
        assert_use(&g, 4, "QEMU_A1", "0000:09:01.0", "swap on /dev/sda1");
        assert_int_equal(agent_parse_pools("no pools available\n", &d, &g, NULL), 0);
        assert_int_equal(g.n_uses, 5);
}

static void processes_end(void **state) {
        _cleanup_free_ char *output = NULL;
        long long pid = 0;
        int status = 7;

        (void) state;
        assert_int_equal(agent_parse_pid("{\"return\":{\"pid\":812}}", &pid, NULL), 0);
        assert_int_equal(pid, 812);
        assert_int_equal(agent_parse_exit("{\"return\":{\"exited\":false}}", &status, &output, NULL), 0);
        assert_int_equal(agent_parse_exit("{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"aGVsbG8K\"}}", &status, &output,
                                          NULL), 1);
        assert_int_equal(status, 0);
        assert_string_equal(output, "hello\n");
        free(TAKE_PTR(output));
        assert_int_equal(agent_parse_exit("{\"return\":{\"exited\":true,\"signal\":9}}", &status, &output, NULL), 1);
        assert_int_equal(status, -1);
        assert_string_equal(output, "");
        free(TAKE_PTR(output));
        assert_int_equal(agent_parse_exit("{\"return\":{\"exited\":true,\"exitcode\":0,\"out-truncated\":true}}", &status, &output,
                                          NULL), -EPROTO);
}

static void malformed_answers_are_errors(void **state) {
        static const char *const replies[] = {
                "", "null", "[]", "{}", "{\"return\":null}", "{\"return\":7}", "{\"return\":[7]}", "{\"return\":[{\"name\":7}]}",
                "{\"return\":[{\"mountpoint\":\"/\",\"name\":\"x\",\"disk\":7}]}", "{\"return\":{\"exited\":\"yes\"}}",
                "{\"return\":{\"pid\":\"812\"}}", "{\"return\":[{\"partition\":true,\"dependencies\":[7]}]}",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(replies); i++) {
                _cleanup_(agent_disks_clear) AgentDisks d = {};
                _cleanup_(guest_clear) Guest g = {};
                char *output = NULL;
                long long pid;
                int status;
                /* One of these is what another command may answer. */
                if (!strstr(replies[i], "mountpoint"))
                        assert_int_equal(agent_parse_disks(replies[i], &d, &g, NULL), -EPROTO);
                assert_int_equal(agent_parse_filesystems(replies[i], &g, NULL), -EPROTO);
                assert_int_equal(agent_parse_pid(replies[i], &pid, NULL), -EPROTO);
                assert_int_equal(agent_parse_exit(replies[i], &status, &output, NULL), -EPROTO);
                assert_int_equal(g.n_uses, 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(disks_and_what_holds_them_are_read), cmocka_unit_test(mounts_are_uses),
                cmocka_unit_test(members_of_pools_and_swap_are_uses), cmocka_unit_test(processes_end),
                cmocka_unit_test(malformed_answers_are_errors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
