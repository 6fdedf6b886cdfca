/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks that are slow, asleep or claimed for a moment are waited for together, not one after another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <poll.h>
#include <stdatomic.h>

#include "probe/probe.h"
#include "support-tree.h"

#define SDB DEVICE "/ata2/host1/target1:0:0/1:0:0:0/block/sdb"
#define PATIENCE_MS 2000

static atomic_int reading, most, pauses;

/* Stands for libc's: a disk that answers only once another one is read, too. */
ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
        ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t)) dlsym(RTLD_NEXT, "pread");
        int now = atomic_fetch_add(&reading, 1) + 1;

        if (now > most)
                most = now;
        for (int i = 0; i < PATIENCE_MS && most < 2; i++)
                (void) usleep(1000);
        (void) atomic_fetch_sub(&reading, 1);
        return real(fd, buffer, size, offset);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
        (void) fds;
        (void) timeout;
        pauses += n == 0;
        return 0;
}

static void put_disks(Tree *m) {
        tree_put_disk(m);
        tree_put(m, SDB "/dev", "8:16\n");
        tree_put_link(m, "sys/class/block/sdb", "../../../" SDB);
        tree_put(m, "dev/sda", "a");
        tree_put(m, "dev/sda1", "a");
        tree_put(m, "dev/sdb", "b");
        tree_read(m);
        assert_int_equal(m->host->n_disks, 2);
}

static void sleeping_disks_are_woken_together(void **state) {
        const ProbeScope all = {};
        Tree *m = *state;

        put_disks(m);
        most = 0;
        assert_int_equal(probe_disks(m->host, m->root, &all, NULL), 0);
        assert_int_equal(most, 2);
        assert_int_equal(m->host->disks[1].exclusive, TRI_YES);
}

static void only_disks_in_question_are_woken(void **state) {
        const PciAddress other = { 0, 9, 0, 0 };
        const ProbeScope elsewhere = { &other, 1 };
        Tree *m = *state;

        put_disks(m);
        most = 0;
        assert_int_equal(probe_disks(m->host, m->root, &elsewhere, NULL), 0);
        assert_int_equal(most, 0);
}

static void claims_are_waited_for_together(void **state) {
        Tree *m = *state;

        put_disks(m);
        m->host->disks[0].exclusive = m->host->disks[1].exclusive = TRI_NO;
        pauses = 0;
        assert_int_equal(probe_disks_explain(m->host, m->root), 0);
        assert_int_equal(m->host->disks[0].exclusive, TRI_YES);
        assert_int_equal(m->host->disks[1].exclusive, TRI_YES);
        assert_int_equal(pauses, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(sleeping_disks_are_woken_together),
                TREE_TEST(only_disks_in_question_are_woken),
                TREE_TEST(claims_are_waited_for_together),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
