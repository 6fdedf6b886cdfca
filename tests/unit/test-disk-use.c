/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What uses a disk, and what is on it: from a directory laid out like / to the findings. Real block devices are in the lab. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check/check.h"
#include "probe/health.h"
#include "probe/openers.h"
#include "probe/probe.h"
#include "support-plan.h"
#include "support-tree.h"

#define SCSI DEVICE "/ata1/host0/target0:0:0/0:0:0:0"
#define SDA SCSI "/block/sda"
#define OTHER "sys/devices/pci0000:00/0000:00:03.0/0000:04:00.0"
#define OTHER_DISK OTHER "/host1/target1:0:0/1:0:0:0"
#define VIRTUAL "sys/devices/virtual/block/"

static const PciAddress controller = { 0, 3, 0, 0 };

static void put_virtual(const Tree *m, const char *name, const char *dev) {
        char path[128], target[128];

        (void) snprintf(path, sizeof path, VIRTUAL "%s/dev", name);
        tree_put(m, path, dev);
        (void) snprintf(path, sizeof path, "sys/class/block/%s", name);
        (void) snprintf(target, sizeof target, "../../devices/virtual/block/%s", name);
        tree_put_link(m, path, target);
}

static void put_dm(const Tree *m, const char *name, const char *dev, const char *uuid, const char *mapped) {
        char path[128];

        put_virtual(m, name, dev);
        (void) snprintf(path, sizeof path, VIRTUAL "%s/dm/uuid", name);
        tree_put(m, path, uuid);
        (void) snprintf(path, sizeof path, VIRTUAL "%s/dm/name", name);
        tree_put(m, path, mapped);
}

static void put_holder(const Tree *m, const char *below, const char *holder) {
        char path[256];

        (void) snprintf(path, sizeof path, "%s/holders/%s", below, holder);
        tree_put(m, path, "");
}

static void assert_use(const Tree *m, DiskUseKind kind, const char *chain) {
        for (size_t i = 0; i < m->host->n_disks; i++)
                for (size_t j = 0; j < m->host->disks[i].n_uses; j++)
                        if (m->host->disks[i].uses[j].kind == kind && str_equal(m->host->disks[i].uses[j].chain, chain))
                                return;
        fail_msg("no use \"%s\" of the kind %s", chain, disk_use_kind_to_string(kind));
}

static size_t count_uses(const Tree *m) {
        size_t n = 0;

        for (size_t i = 0; i < m->host->n_disks; i++)
                n += m->host->disks[i].n_uses;
        return n;
}

static const Finding *find(const FindingList *l, const char *check) {
        for (size_t i = 0; i < l->n; i++)
                if (str_equal(l->items[i].check, check))
                        return &l->items[i];
        fail_msg("no finding of %s", check);
        return NULL;
}

/* -- what stands on a disk --------------------------------------------------------------------------------------------- */

static void mappings_are_told_apart(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        put_dm(m, "dm-0", "253:0\n", "LVM-abc\n", "vg-data\n");
        put_dm(m, "dm-1", "253:1\n", "CRYPT-LUKS2-1-x\n", "secret\n");
        put_dm(m, "dm-2", "253:2\n", "mpath-3600\n", "mpatha\n");
        put_dm(m, "dm-3", "253:3\n", "", "other\033[2J\n");
        put_holder(m, SDA "/sda1", "dm-0");
        put_holder(m, VIRTUAL "dm-0", "dm-1");
        put_holder(m, SDA, "dm-2");
        put_holder(m, SDA, "dm-3");
        tree_put(m, "proc/1/mountinfo", "22 1 253:1 / /srv rw - ext4 /dev/mapper/secret rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_LVM, "sda1 → dm-0 (LVM vg-data)");
        assert_use(m, DISK_USE_CRYPT, "sda1 → dm-0 (LVM vg-data) → dm-1 (dm-crypt secret)");
        assert_use(m, DISK_USE_MOUNT, "sda1 → dm-0 (LVM vg-data) → dm-1 (dm-crypt secret) → /srv");
        assert_use(m, DISK_USE_MULTIPATH, "sda → dm-2 (multipath mpatha)");
        assert_use(m, DISK_USE_DM, "sda → dm-3 (device-mapper other?[2J)");
}

static void arrays_are_uses_before_they_run(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        put_virtual(m, "md127", "9:127\n");
        tree_put(m, VIRTUAL "md127/md/array_state", "inactive\n");
        put_holder(m, SDA, "md127");
        tree_read(m);
        assert_use(m, DISK_USE_MD, "sda → md127 (inactive)");
        tree_put(m, VIRTUAL "md127/md/array_state", "clean\n");
        /* A partition of an array is none of its holders. */
        tree_put(m, VIRTUAL "md127/md127p1/dev", "259:0\n");
        tree_put(m, VIRTUAL "md127/md127p1/partition", "1\n");
        tree_put_link(m, "sys/class/block/md127p1", "../../devices/virtual/block/md127/md127p1");
        tree_put(m, "proc/1/mountinfo", "22 1 259:0 / / rw - ext4 /dev/md127p1 rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_MD, "sda → md127");
        assert_use(m, DISK_USE_MOUNT, "sda → md127 → md127p1 → /");
        assert_int_equal(count_uses(m), 2);
        assert_true(m->host->disks[0].uses[1].boot);
}

/* No machine is like this, but a recording may be. */
static void endless_stacks_are_errors(void **state) {
        _cleanup_error_ Error *e = NULL;
        Tree *m = *state;
        Host *h = NULL;

        tree_put_disk(m);
        for (int i = 0; i < 4; i++) {
                char name[16], path[64];
                (void) snprintf(name, sizeof name, "dm-%d", i);
                put_virtual(m, name, "253:0\n");
                put_holder(m, SDA, name);
                for (int j = 0; j < 4; j++) {
                        (void) snprintf(path, sizeof path, VIRTUAL "dm-%d", j);
                        put_holder(m, path, name);
                }
        }
        assert_int_equal(probe_host(m->root, 0, &h, &e), -ELOOP);
        assert_non_null(strstr(e->message, "disks cannot be read"));
}

static void registered_bcache_is_a_use(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, SDA "/bcache/state", "no cache\n");
        tree_read(m);
        assert_use(m, DISK_USE_BCACHE, "sda → bcache");
        put_virtual(m, "bcache0", "251:0\n");
        tree_put_link(m, SDA "/bcache/dev", "../../../../../../../../../../virtual/block/bcache0");
        put_holder(m, SDA, "bcache0");
        tree_put(m, VIRTUAL "bcache0/uevent", "");
        tree_read(m);
        assert_use(m, DISK_USE_BCACHE, "sda → bcache0");
        assert_int_equal(count_uses(m), 1);
}

#define BTRFS "sys/fs/btrfs/6f3c0000-0000-4000-8000-000000000001"

static void each_device_of_a_btrfs_is_used(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        put_virtual(m, "vdb", "254:16\n");
        tree_put(m, BTRFS "/devices/vdb/size", "");
        tree_put(m, BTRFS "/devices/sda1/size", "");
        tree_put(m, BTRFS "/label", "tank\n");
        tree_put(m, "sys/fs/btrfs/features/raid56", "");
        tree_put(m, "proc/1/mountinfo", "22 1 0:45 / /srv/tank rw - btrfs /dev/vdb rw\n"
                                        "23 1 0:46 / /mnt rw - btrfs /dev/vdc rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_BTRFS, "sda1 → btrfs tank");
        assert_use(m, DISK_USE_MOUNT, "sda1 → btrfs tank → /srv/tank");
        assert_int_equal(count_uses(m), 2);
}

/* Any user may mount a tmpfs, and whoever has fusermount a FUSE, with a source of that name. */
static void sources_that_users_make_up_are_no_uses(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "proc/1/mountinfo", "22 1 0:45 / /home/eve/x rw - fuse.sshfs /dev/sda rw\n");
        tree_put_link(m, "proc/1/ns/mnt", "mnt:[1]");
        tree_put(m, "proc/70/mountinfo", "22 1 0:46 / /mnt rw - tmpfs /dev/sda1 rw\n");
        tree_put_link(m, "proc/70/ns/mnt", "mnt:[2]");
        tree_read(m);
        assert_int_equal(count_uses(m), 0);
        tree_put(m, "proc/70/mountinfo", "22 1 8:1 / /mnt rw - ext4 /dev/root rw\n23 1 0:47 / /srv rw - btrfs /dev/sda rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_MOUNT, "sda1 → /mnt (mount namespace of pid 70 )");
        assert_use(m, DISK_USE_MOUNT, "sda → /srv (mount namespace of pid 70 )");
        assert_int_equal(count_uses(m), 2);
}

/* A process may end between the two readings. */
static void another_process_tells_of_its_namespace(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "proc/1/mountinfo", "");
        for (int pid = 70; pid < 77; pid++) {
                char path[64];
                (void) snprintf(path, sizeof path, "proc/%d/ns/mnt", pid);
                tree_put_link(m, path, "mnt:[2]");
        }
        tree_put(m, "proc/73/mountinfo", "22 1 8:1 / /mnt rw - ext4 /dev/sda1 rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_MOUNT, "sda1 → /mnt (mount namespace of pid 73 )");
        assert_int_equal(count_uses(m), 1);
}

static void what_stands_on_a_loop_is_followed(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        put_virtual(m, "loop0", "7:0\n");
        tree_put(m, VIRTUAL "loop0/loop/backing_file", "/dev/sda1\n");
        tree_put(m, "proc/1/mountinfo", "22 1 7:0 / /srv rw - ext4 /dev/loop0 rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_LOOP, "sda1 → loop0");
        assert_use(m, DISK_USE_MOUNT, "sda1 → loop0 → /srv");
}

static void targets_are_found_by_their_own_word(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "sys/kernel/config/target/core/iblock_0/disk0/udev_path", "\n");
        tree_put(m, "sys/kernel/config/target/core/iblock_0/disk0/info",
                 "Status: ACTIVATED\n        iBlock device: sda  UDEV PATH: /dev/sda1  readonly: 0\n");
        tree_put(m, "sys/kernel/config/target/core/fileio_1/disk1/info",
                 "Status: ACTIVATED\n        TCM FILEIO ID: 0        File: /dev/sda  Size: 1048576  Mode: O_DSYNC\n");
        tree_read(m);
        assert_use(m, DISK_USE_TARGET, "sda1 → SCSI target disk0");
        assert_use(m, DISK_USE_TARGET, "sda → SCSI target disk1");
}

/* -- what is written on it --------------------------------------------------------------------------------------------- */

static void put_zfs(const Tree *m) {
        tree_put_disk(m);
        tree_put(m, "run/udev/data/b8:0", "I:1\nE:ID_PART_TABLE_TYPE=gpt\nE:ID_PART_TABLE_UUID=aa\n");
        tree_put(m, "run/udev/data/b8:1", "I:1\nE:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=tank\nE:ID_FS_UUID=123\n");
}

static void signatures_are_known_without_waking_a_disk(void **state) {
        Tree *m = *state;

        put_zfs(m);
        tree_read(m);
        const Disk *d = &m->host->disks[0];
        assert_true(d->signatures_known);
        assert_int_equal(d->n_signatures, 2);
        for (size_t i = 0; i < 2; i++) {
                const DiskSignature *s = &d->signatures[i];
                assert_string_equal(s->type, str_equal(s->where, "sda") ? "gpt" : "zfs_member");
                assert_string_equal(s->uuid, str_equal(s->where, "sda") ? "aa" : "123");
        }
        /* An exported pool is data and no use. */
        assert_int_equal(d->n_uses, 0);
        tree_put(m, "run/udev/data/b8:1", "I:1\n");
        assert_int_equal(unlinkat(m->root, "run/udev/data/b8:0", 0), 0);
        tree_read(m);
        assert_false(m->host->disks[0].signatures_known);
}

static void configured_uuids_name_every_device(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "run/udev/data/b8:1", "I:1\nE:ID_FS_TYPE=btrfs\nE:ID_FS_UUID=6f3c-1\n");
        tree_put(m, "etc/fstab", "UUID=\"6f3c-1\" /srv btrfs defaults 0 0\nUUID=6f3c-10 /mnt btrfs defaults 0 0\n");
        tree_read(m);
        assert_use(m, DISK_USE_CONFIGURED, "sda1 → /srv in /etc/fstab");
        assert_int_equal(count_uses(m), 1);
}

static void imported_pools_are_uses(void **state) {
        Tree *m = *state;

        put_zfs(m);
        tree_put(m, "proc/spl/kstat/zfs/tank/io", "");
        tree_put(m, "proc/1/mountinfo", "22 1 0:45 / /srv rw - zfs tank/data rw\n23 1 0:46 / /mnt rw - zfs tank2 rw\n");
        tree_read(m);
        assert_use(m, DISK_USE_ZFS, "sda1 → ZFS pool tank");
        assert_use(m, DISK_USE_MOUNT, "sda1 → ZFS pool tank → /srv");
        assert_int_equal(count_uses(m), 2);
        /* The name of a pool is whatever somebody wrote to the disk. */
        tree_put(m, "run/udev/data/b8:1", "I:1\nE:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=../zfs\n");
        tree_read(m);
        assert_int_equal(count_uses(m), 0);
}

/* One path is in udev's database, the other only in sysfs. */
static void paths_of_one_disk_are_matched(void **state) {
        const CheckRequest q = { .controllers = &controller, .n_controllers = 1 };
        Tree *m = *state;

        tree_put_disk(m);
        tree_put(m, "run/udev/data/b8:0", "I:1\nE:ID_WWN=0x5000c500a1b2c3d4\n");
        tree_put(m, OTHER "/vendor", "0x1000\n");
        tree_put_link(m, "sys/bus/pci/devices/0000:04:00.0", "../../../devices/pci0000:00/0000:00:03.0/0000:04:00.0");
        tree_put(m, OTHER_DISK "/wwid", "naa.5000c500a1b2c3d4\n");
        tree_put(m, OTHER_DISK "/block/sdb/dev", "8:16\n");
        tree_put_link(m, OTHER_DISK "/block/sdb/device", "../..");
        tree_put_link(m, "sys/class/block/sdb", "../../../" OTHER_DISK "/block/sdb");
        tree_read(m);
        _cleanup_findings_ FindingList l = {};
        assert_int_equal(check_run(m->host, &q, &l, NULL), 0);
        assert_int_equal(find(&l, "disk-shared-path")->verdict, VERDICT_FAIL);
}

/* -- asking the disks -------------------------------------------------------------------------------------------------- */

static Host *ask(const Tree *m, const PciAddress *about) {
        _cleanup_error_ Error *e = NULL;
        Host *h = NULL;

        if (probe_host_about(m->root, PROBE_LIVE | PROBE_EXCLUSIVE, about, 1, &h, &e) < 0)
                fail_msg("%s", e->message);
        return h;
}

static void put_mate(const Tree *m) {
        static const char mate[] = "sys/devices/pci0000:00/0000:00:02.0/0000:03:00.1";
        char path[128];

        (void) snprintf(path, sizeof path, "%s/vendor", mate);
        tree_put(m, path, "0x8086\n");
        (void) snprintf(path, sizeof path, "%s/iommu_group", mate);
        tree_put_link(m, path, "../../../../kernel/iommu_groups/5");
        tree_put_link(m, "sys/bus/pci/devices/0000:03:00.1", "../../../devices/pci0000:00/0000:00:02.0/0000:03:00.1");
        tree_put_link(m, "sys/kernel/iommu_groups/5/devices/0000:03:00.1",
                      "../../../../devices/pci0000:00/0000:00:02.0/0000:03:00.1");
}

/* Files stand for the device nodes here. libblkid finds swap by the end of its first page (libblkid/src/superblocks/swap.c). */
static void put_nodes(const Tree *m) {
        char *swap = calloc(2, 4096);

        tree_put(m, "dev/sda", "");
        _cleanup_close_ int disk = openat(m->root, "dev/sda", O_WRONLY | O_CLOEXEC);
        assert_int_equal(ftruncate(disk, 1 << 20), 0);
        tree_put(m, "dev/sda1", "");
        _cleanup_close_ int partition = openat(m->root, "dev/sda1", O_WRONLY | O_CLOEXEC);
        memcpy(swap + 4096 - 10, "SWAPSPACE2", 10);
        swap[1024] = 1;      /* version */
        swap[1024 + 5] = 1;  /* last page */
        assert_int_equal(pwrite(partition, swap, 8192, 0), 8192);
        assert_int_equal(ftruncate(partition, 1 << 20), 0);
        free(swap);
}

static void the_disks_in_question_are_asked(void **state) {
        const PciAddress mate = { 0, 3, 0, 1 }, other = { 0, 9, 0, 0 };
        Tree *m = *state;

        tree_put_disk(m);
        put_mate(m);
        put_nodes(m);
        _cleanup_(host_freep) Host *named = ask(m, &controller), *of_group = ask(m, &mate), *not_named = ask(m, &other);
        assert_int_equal(named->disks[0].exclusive, TRI_YES);
        assert_int_equal(of_group->disks[0].exclusive, TRI_YES);
        assert_int_equal(not_named->disks[0].exclusive, TRI_UNKNOWN);
        assert_true(named->exclusive_tried && named->openers_known && named->disks[0].signatures_known);
        assert_false(not_named->disks[0].signatures_known);
        assert_int_equal(named->disks[0].n_signatures, 1);
        assert_string_equal(named->disks[0].signatures[0].where, "sda1");
        assert_string_equal(named->disks[0].signatures[0].type, "swap");
        assert_int_equal(named->disks[0].n_uses, 0);
}

static void momentary_claims_are_no_uses(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        put_nodes(m);
        tree_read(m);
        m->host->disks[0].exclusive = TRI_NO;
        assert_int_equal(probe_disks_explain(m->host, m->root), 0);
        assert_int_equal(m->host->disks[0].exclusive, TRI_YES);
        assert_int_equal(count_uses(m), 0);
}

static void a_disk_without_a_node_is_not_known(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        _cleanup_(host_freep) Host *h = ask(m, &controller);
        assert_int_equal(h->disks[0].exclusive, TRI_UNKNOWN);
        assert_false(h->disks[0].signatures_known);
}

/* -- who has it open --------------------------------------------------------------------------------------------------- */

static void put_openers(const Tree *m) {
        tree_put_disk(m);
        /* As /dev/full: 1:7. */
        tree_put(m, SCSI "/scsi_generic/sg0/dev", "1:7\n");
        tree_put(m, SCSI "/tape/scsi_tape/st0/dev", "1:5\n");
        tree_put_link(m, "sys/class/scsi_tape/st0", "../../../" SCSI "/tape/scsi_tape/st0");
        tree_put(m, "proc/4242/comm", "sg_dd\n");
        tree_put_link(m, "proc/4242/fd/3", "/dev/full");
        tree_put(m, "proc/4243/comm", "tar\n");
        tree_put_link(m, "proc/4243/fd/3", "/dev/zero");
        tree_put(m, "proc/4244/comm", "(udev-worker)\n");
        tree_put_link(m, "proc/4244/fd/3", "/dev/full");
}

static void openers_of_all_nodes_are_uses(void **state) {
        const PciAddress other = { 0, 9, 0, 0 };
        const ProbeScope scope = { &controller, 1 }, elsewhere = { &other, 1 };
        Tree *m = *state;

        put_openers(m);
        tree_read(m);
        assert_false(m->host->openers_known);
        assert_int_equal(probe_openers(m->host, m->root, &elsewhere, NULL), 0);
        assert_true(m->host->openers_known);
        assert_int_equal(count_uses(m), 0);
        assert_int_equal(probe_openers(m->host, m->root, &scope, NULL), 0);
        assert_use(m, DISK_USE_PROCESS, "sg0 → sg_dd (pid 4242)");
        assert_int_equal(count_uses(m), 1);
        assert_int_equal(m->host->n_controller_uses, 1);
        assert_string_equal(m->host->controller_uses[0].chain, "st0 → tar (pid 4243)");
}

/* A file can be closed after it was mapped, and a first thread end before the others. */
static void hidden_openers_are_found(void **state) {
        const ProbeScope scope = { &controller, 1 };
        Tree *m = *state;

        put_openers(m);
        tree_put(m, "proc/4250/comm", "mapper\n");
        tree_make_directories(m, "proc/4250/fd/");
        tree_put(m, "proc/4250/maps", "00400000-00500000 r-xp 00000000 fe:01 99                    /usr/bin/mapper\n"
                                      "00600000-00700000 rw-p 00000000 00:00 0                     [heap]\n"
                                      "7f0000000000-7f0000001000 rw-s 00000000 00:05 12            /dev/full\n");
        tree_put(m, "proc/4250/map_files/400000-500000", "");
        tree_put_link(m, "proc/4250/map_files/7f0000000000-7f0000001000", "/dev/full");
        /* another process has it, too, and the first may be one that does not count */
        tree_put(m, "proc/4253/comm", "second\n");
        tree_make_directories(m, "proc/4253/fd/");
        tree_put(m, "proc/4253/maps", "7f0000000000-7f0000001000 rw-s 00000000 00:05 12            /dev/full\n");
        tree_put_link(m, "proc/4253/map_files/7f0000000000-7f0000001000", "/dev/full");
        tree_put(m, "proc/4251/comm", "threads\n");
        tree_put_link(m, "proc/4251/task/4252/fd/3", "/dev/full");
        tree_make_directories(m, "proc/4251/fd/");
        tree_read(m);
        assert_int_equal(probe_openers(m->host, m->root, &scope, NULL), 0);
        assert_true(m->host->openers_known);
        assert_use(m, DISK_USE_PROCESS, "sg0 → mapper (pid 4250)");
        assert_use(m, DISK_USE_PROCESS, "sg0 → second (pid 4253)");
        assert_use(m, DISK_USE_PROCESS, "sg0 → threads (pid 4251)");
        assert_int_equal(count_uses(m), 4);
}

/* As a real kernel tells it: the child has nothing open but what it has mapped. */
static void a_mapping_of_a_live_process_is_found(void **state) {
        static const DeviceNumber zero = { .character = true, .major = 1, .minor = 5 };
        _cleanup_error_ Error *e = NULL;
        _cleanup_free_ char *who = NULL;
        char expected[32];
        int ready[2];

        (void) state;
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
                int fd = open("/dev/zero", O_RDONLY);
                /* A private mapping of this device keeps its node; a shared one is memory. */
                if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED || close(fd) < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                for (;;)
                        (void) pause();
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        int r = openers_find(AT_FDCWD, &zero, 1, &who, &e);
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, 0);
        (void) close(ready[0]);
        (void) close(ready[1]);
        if (geteuid() != 0) { /* others' files are root's to see */
                assert_int_equal(r, -EACCES);
                return;
        }
        if (r < 0)
                fail_msg("%s", e->message);
        (void) snprintf(expected, sizeof expected, "(pid %d)", pid);
        assert_non_null(who);
        assert_non_null(strstr(who, expected));
}

static void generic_nvme_nodes_reach_the_disk(void **state) {
        _cleanup_(device_list_clear) DeviceList list = {};
        _cleanup_free_ DeviceNumber *numbers = NULL;
        Tree *m = *state;
        size_t n = 0;

        tree_put(m, DEVICE "/nvme/nvme0/dev", "240:0\n");
        tree_put(m, DEVICE "/nvme/nvme0/ng0n1/dev", "241:0\n");
        tree_put_link(m, "sys/class/nvme/nvme0", "../../../" DEVICE "/nvme/nvme0");
        tree_put_link(m, "sys/class/nvme-generic/ng0n1", "../../../" DEVICE "/nvme/nvme0/ng0n1");
        assert_int_equal(device_list_read(m->root, &list), 0);
        assert_int_equal(list.n, 2);
        assert_int_equal(device_list_of_disk(&list, "nvme0n1", &controller, &numbers, &n), 0);
        assert_int_equal(n, 2);
        free(TAKE_PTR(numbers));
        assert_int_equal(device_list_of_disk(&list, "nvme1n1", &controller, &numbers, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(numbers[0].major, 240);
}

/* -- the checks -------------------------------------------------------------------------------------------------------- */

static void run(const Host *h, FindingList *l) {
        const CheckRequest q = { .controllers = &hba, .n_controllers = 1, .guest = "nas" };

        assert_int_equal(check_run(h, &q, l, NULL), 0);
}

static void add_use(Disk *d, DiskUseKind kind, const char *chain) {
        d->uses = reallocarray(d->uses, d->n_uses + 1, sizeof *d->uses);
        d->uses[d->n_uses++] = (DiskUse){ .kind = kind, .chain = strdup(chain) };
}

static void a_stack_is_told_from_its_top(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        add_use(&h->disks[0], DISK_USE_MD, "sda1 → md0");
        add_use(&h->disks[0], DISK_USE_MOUNT, "sda1 → md0 → /srv");
        add_use(&h->disks[0], DISK_USE_SWAP, "sda2 → swap");
        run(h, &l);
        const Finding *f = find(&l, "host-disk-use");
        assert_int_equal(f->verdict, VERDICT_FAIL);
        assert_non_null(strstr(f->message, "sda1 → md0 → /srv"));
        assert_int_equal(f->n_evidence, 2);
        assert_string_equal(f->evidence[0], "mount: sda1 → md0 → /srv");
        assert_string_equal(f->evidence[1], "swap: sda2 → swap");
        const char *unmount = strstr(f->remedy, "umount"), *stop = strstr(f->remedy, "mdadm --stop");
        assert_true(unmount && stop && unmount < stop);
}

static void a_tape_is_a_use_of_its_controller(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList l = {};

        (void) state;
        h->controller_uses = calloc(1, sizeof *h->controller_uses);
        h->controller_uses[h->n_controller_uses++] = (ControllerUse){ .controller = hba, .chain = strdup("st0 → tar (pid 7)") };
        run(h, &l);
        assert_int_equal(find(&l, "host-disk-use")->verdict, VERDICT_FAIL);
        assert_non_null(strstr(find(&l, "host-disk-use")->message, "st0 → tar (pid 7)"));
}

static void unknown_uses_are_no_pass(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();

        (void) state;
        for (int i = 0; i < 4; i++) {
                _cleanup_findings_ FindingList l = {};
                h->exclusive_tried = i != 3; /* files without a recording's results */
                h->uses_known = i != 0;
                h->openers_known = i != 1;
                h->disks[0].exclusive = i == 2 ? TRI_UNKNOWN : TRI_YES;
                run(h, &l);
                assert_int_equal(find(&l, "host-disk-use")->verdict, VERDICT_SKIP);
                assert_false(check_allows(&l, NULL, 0));
        }
}

static void data_is_told_and_refuses_nothing(void **state) {
        _cleanup_(host_freep) Host *h = machine_new();
        _cleanup_findings_ FindingList none = {}, unread = {}, some = {};
        Disk *d = &h->disks[0];

        (void) state;
        run(h, &none);
        assert_int_equal(find(&none, "disk-data")->verdict, VERDICT_PASS);
        d->signatures_known = false;
        run(h, &unread);
        assert_int_equal(find(&unread, "disk-data")->verdict, VERDICT_SKIP);
        d->signatures = calloc(1, sizeof *d->signatures);
        d->signatures[d->n_signatures++] = (DiskSignature){
                .where = strdup("sda1"), .type = strdup("zfs_member"), .label = strdup("tank"), .uuid = strdup("123"),
        };
        run(h, &some);
        const Finding *f = find(&some, "disk-data");
        assert_int_equal(f->verdict, VERDICT_INFO);
        assert_string_equal(f->evidence[0], "sda1: zfs_member, label tank, UUID 123");
        assert_non_null(strstr(f->message, "sda1 zfs_member tank"));
        assert_int_equal(find(&some, "host-disk-use")->verdict, VERDICT_PASS);
        assert_true(check_allows(&some, NULL, 0));
}

static void failing_disks_are_warned_of(void **state) {
        static const struct {
                const char *text;
                int status;
                Tri healthy;
                Verdict verdict;
                const char *word;
        } answers[] = {
                { "{\"smart_status\":{\"passed\":true}}", 0, TRI_YES, VERDICT_PASS, "good" },
                { "{\"smart_status\":{\"passed\":false}}", 8, TRI_NO, VERDICT_WARN, "failing" },
                { "{\"smartctl\":{\"exit_status\":3}}", 3, TRI_UNKNOWN, VERDICT_SKIP, "asleep" },
                { "{\"smartctl\":{\"exit_status\":4}}", 4, TRI_UNKNOWN, VERDICT_SKIP, "no SMART status" },
                { "{\"smart_status\":", 0, TRI_UNKNOWN, VERDICT_SKIP, "no SMART status" },
                { "", 1, TRI_UNKNOWN, VERDICT_SKIP, "no SMART status" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                _cleanup_(host_freep) Host *h = machine_new();
                _cleanup_findings_ FindingList l = {};
                assert_int_equal(health_from_json(&h->disks[0], answers[i].text, strlen(answers[i].text), answers[i].status), 0);
                assert_int_equal(h->disks[0].healthy, answers[i].healthy);
                run(h, &l);
                const Finding *f = find(&l, "smart-health");
                assert_int_equal(f->verdict, answers[i].verdict);
                assert_non_null(strstr(f->message, answers[i].word));
                assert_true(check_allows(&l, NULL, 0));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(mappings_are_told_apart),
                TREE_TEST(arrays_are_uses_before_they_run),
                TREE_TEST(endless_stacks_are_errors),
                TREE_TEST(registered_bcache_is_a_use),
                TREE_TEST(each_device_of_a_btrfs_is_used),
                TREE_TEST(sources_that_users_make_up_are_no_uses),
                TREE_TEST(another_process_tells_of_its_namespace),
                TREE_TEST(what_stands_on_a_loop_is_followed),
                TREE_TEST(targets_are_found_by_their_own_word),
                TREE_TEST(signatures_are_known_without_waking_a_disk),
                TREE_TEST(configured_uuids_name_every_device),
                TREE_TEST(imported_pools_are_uses),
                TREE_TEST(paths_of_one_disk_are_matched),
                TREE_TEST(the_disks_in_question_are_asked),
                TREE_TEST(momentary_claims_are_no_uses),
                TREE_TEST(a_disk_without_a_node_is_not_known),
                TREE_TEST(openers_of_all_nodes_are_uses),
                TREE_TEST(hidden_openers_are_found),
                cmocka_unit_test(a_mapping_of_a_live_process_is_found),
                TREE_TEST(generic_nvme_nodes_reach_the_disk),
                cmocka_unit_test(a_stack_is_told_from_its_top),
                cmocka_unit_test(a_tape_is_a_use_of_its_controller),
                cmocka_unit_test(unknown_uses_are_no_pass),
                cmocka_unit_test(data_is_told_and_refuses_nothing),
                cmocka_unit_test(failing_disks_are_warned_of),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
