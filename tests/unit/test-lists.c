/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder that cannot be listed to its end is an error, or leaves unknown what it would tell; it is never a shorter list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "probe/probe.h"
#include "support-tree.h"

#define SDA DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda"

/* The end of the path of the folder that fails. */
static const char *broken;

/* Stands for libc's. */
struct dirent *readdir(DIR *d) {
        static struct dirent *(*real)(DIR *);
        _cleanup_free_ char *path = NULL;
        char link[64];

        if (!real)
                real = (struct dirent *(*)(DIR *)) dlsym(RTLD_NEXT, "readdir");
        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd(d));
        if (broken && link_read(AT_FDCWD, link, &path) >= 0 && strlen(path) >= strlen(broken) &&
            str_equal(path + strlen(path) - strlen(broken), broken)) {
                errno = EIO;
                return NULL;
        }
        return real(d);
}

static void put_machine(const Tree *m) {
        tree_put_disk(m);
        tree_put(m, SDA "/sda1/holders/dm-0", "");
        tree_put(m, "proc/1/mountinfo", "");
        tree_put(m, "proc/cmdline", "quiet\n");
        tree_put(m, STORE "/.keep", "");
        tree_put(m, "run/user/1000/.keep", "");
        tree_put(m, "etc/modprobe.d/x.conf", "options vfio-pci ids=8086:2922\n");
        tree_put(m, "etc/driverctl.d/.keep", "");
        tree_put(m, "sys/devices/system/edac/mc/mc0/dimm0/dimm_edac_mode", "SECDED\n");
        tree_put(m, "sys/fs/btrfs/6f3c/devices/sda1/size", "");
        tree_put(m, "sys/kernel/config/target/core/iblock_0/disk0/info", "");
        tree_put(m, "sys/class/iommu/dmar0/uevent", "");
}

static void broken_lists_stop_the_reading(void **state) {
        static const char *const folders[] = {
                "/sys/bus/pci/devices", "/sys/class/block", "/sda1/holders", "/sys/fs/btrfs", "/6f3c/devices", "/iblock_0", "/target/core",
                "/sys/kernel/iommu_groups", "/iommu_groups/5/devices", "/sys/class/iommu", "/proc", "/assignments.d", "/etc/libvirt/qemu",
                "/run/user",
        };
        Tree *m = *state;

        put_machine(m);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_error_ Error *e = NULL;
                Host *h = NULL;
                broken = folders[i];
                int r = probe_host(m->root, PROBE_GUESTS, &h, &e);
                broken = NULL;
                if (r != -EIO)
                        fail_msg("%s: %d", folders[i], r);
                assert_non_null(e->message);
        }
}

static void broken_lists_leave_unknown_what_they_tell(void **state) {
        const PciAddress controller = { 0, 3, 0, 0 };
        const ProbeScope scope = { &controller, 1 };
        Tree *m = *state;

        put_machine(m);
        tree_read(m);
        assert_true(m->host->claims_known && m->host->ecc == TRI_YES);
        broken = "/etc/modprobe.d";
        tree_read(m);
        assert_false(m->host->claims_known);
        broken = "/etc/driverctl.d";
        tree_read(m);
        assert_false(m->host->claims_known);
        broken = "/edac/mc";
        tree_read(m);
        assert_int_equal(m->host->ecc, TRI_UNKNOWN);
        broken = NULL;
        assert_int_equal(probe_openers(m->host, m->root, &scope, NULL), 0);
        assert_true(m->host->openers_known);
        broken = "/proc";
        assert_int_equal(probe_openers(m->host, m->root, &scope, NULL), 0);
        assert_false(m->host->openers_known);
        broken = NULL;
}

/* Whatever happens to a user's folder is no reason to tell nothing of the host. */
static void folders_of_users_stop_nothing(void **state) {
        Tree *m = *state;

        tree_put(m, "run/user/1000/libvirt/qemu/run/.keep", "");
        broken = "/libvirt/qemu/run";
        tree_read(m);
        broken = NULL;
        assert_true(m->host->guests_known);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(broken_lists_stop_the_reading),
                TREE_TEST(broken_lists_leave_unknown_what_they_tell),
                TREE_TEST(folders_of_users_stop_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
