/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The probes on a directory laid out like /. What a real machine shows is read in the lab. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "probe/probe.h"
#include "support-tree.h"

#define VMD_PORT "sys/devices/pci10000:e0/10000:e0:01.0"
#define VMD_NVME VMD_PORT "/10000:e1:00.0"

static const PciAddress vmd_nvme = { 0x10000, 0xe1, 0, 0 }, controller = { 0, 3, 0, 0 };

static Host *read_host(const Tree *m) {
        _cleanup_error_ Error *e = NULL;
        Host *h = NULL;

        if (probe_host(m->root, PROBE_GUESTS, &h, &e) < 0)
                fail_msg("%s", e->message);
        return h;
}

static void put_function(const Tree *m, const char *device, const char *address, const char *class) {
        static const char *const names[] = { "vendor", "device", "subsystem_vendor", "subsystem_device", "revision" };
        char path[256], target[256];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                (void) snprintf(path, sizeof path, "%s/%s", device, names[i]);
                tree_put(m, path, "0x0001\n");
        }
        (void) snprintf(path, sizeof path, "%s/class", device);
        tree_put(m, path, class);
        (void) snprintf(path, sizeof path, "sys/bus/pci/devices/%s", address);
        (void) snprintf(target, sizeof target, "../../../../%s", device);
        tree_put_link(m, path, target);
}

static void put_vmd(const Tree *m) {
        put_function(m, VMD_PORT, "10000:e0:01.0", "0x060400\n");
        put_function(m, VMD_NVME, "10000:e1:00.0", "0x010802\n");
        tree_put_link(m, VMD_NVME "/iommu_group", "../../../../kernel/iommu_groups/4711");
        tree_put(m, "sys/kernel/iommu_groups/4711/devices/10000:e1:00.0", "");
        tree_put(m, "sys/kernel/iommu_groups/4711/reserved_regions",
                 "0x0000000000000000 0x0000000000ffffff direct-relaxable\n"
                 "0x00000000fee00000 0x00000000feefffff msi\n"
                 "0xfffffffffffff000 0xffffffffffffffff direct\n");
}

static void large_domains_and_groups_are_read(void **state) {
        Tree *m = *state;

        put_vmd(m);
        _cleanup_(host_freep) Host *h = read_host(m);
        const PciFunction *f = host_find_function(h, &vmd_nvme);
        assert_non_null(f);
        assert_int_equal(f->group, 4711);
        assert_string_equal(f->port_path, "10000:e0/01.0/00.0");
        assert_true(f->has_parent);
        assert_int_equal(f->parent.domain, 0x10000);
        assert_string_equal(pci_function_kind(f), "nvme");
}

static void reserved_regions_are_told_apart(void **state) {
        Tree *m = *state;

        put_vmd(m);
        _cleanup_(host_freep) Host *h = read_host(m);
        const IommuGroup *g = host_group_of(h, &vmd_nvme);
        assert_non_null(g);
        assert_true(g->regions_known);
        assert_int_equal(g->n_regions, 3);
        assert_int_equal(g->regions[0].kind, REGION_DIRECT_RELAXABLE);
        assert_int_equal(g->regions[1].kind, REGION_MSI);
        assert_int_equal(g->regions[2].kind, REGION_DIRECT);
        assert_true(g->regions[2].end == UINT64_MAX);
}

/* A function that is left out would make its group look empty. */
static void unreadable_functions_are_errors(void **state) {
        _cleanup_error_ Error *e = NULL;
        Tree *m = *state;
        Host *h = NULL;

        put_vmd(m);
        assert_int_equal(unlinkat(m->root, VMD_NVME "/vendor", 0), 0);
        assert_int_equal(mkdirat(m->root, VMD_NVME "/vendor", 0755), 0);
        assert_int_equal(probe_host(m->root, 0, &h, &e), -EISDIR);
        assert_non_null(strstr(e->message, "PCI functions cannot be read"));
}

/* Whether a disk behind the controller has a use of the kind whose chain is the text. */
static bool has_use(const Host *h, DiskUseKind kind, const char *chain, bool boot) {
        for (size_t i = 0; i < h->n_disks; i++)
                for (size_t j = 0; j < h->disks[i].n_uses; j++) {
                        const DiskUse *u = &h->disks[i].uses[j];
                        if (pci_address_equal(&h->disks[i].controller, &controller) && u->kind == kind &&
                            str_equal(u->chain, chain))
                                return u->boot == boot;
                }
        return false;
}

/* One that is left out would leave its guest's controller to others. */
static void unreadable_records_are_errors(void **state) {
        static const char *const texts[] = { "", "{}", "[1]", "{\"version\": 1" };
        Tree *m = *state;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_error_ Error *e = NULL;
                _cleanup_(host_freep) Host *h = NULL;
                tree_put(m, STORE "/" ADDRESS ".json", texts[i]);
                assert_true(probe_host(m->root, 0, &h, &e) < 0);
                assert_non_null(strstr(e->message, STORE "/" ADDRESS ".json"));
        }
}

static void uses_are_found_through_partitions(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put_link(m, "sys/class/block/sda1", "../../../" DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1");
        tree_put(m, "proc/1/mountinfo",
                 "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
                 "30 22 8:1 / /srv/with\\040space rw - ext4 /dev/sda1 rw\n");
        tree_put(m, "proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda partition 100 0 -2\n");
        tree_put(m, "etc/fstab", "# comment\n/dev/sda1 /backup ext4 defaults 0 0\n/dev/sda1 /media/cdrom0 udf user,noauto 0 0\n"
                                 "LABEL=NAS\\040Data /label ext4 defaults 0 0\n");
        tree_put(m, "dev/sda1", "");
        tree_put_link(m, "dev/disk/by-label/NAS\\x20Data", "../../sda1");
        tree_put(m, "etc/crypttab", "secret /dev/sda1 none luks\n");
        _cleanup_(host_freep) Host *h = read_host(m);
        assert_true(h->uses_known);
        assert_true(has_use(h, DISK_USE_MOUNT, "sda1 → /srv/with space", false));
        assert_true(has_use(h, DISK_USE_SWAP, "sda → swap", true));
        assert_true(has_use(h, DISK_USE_CONFIGURED, "sda1 → /backup in /etc/fstab", true));
        assert_true(has_use(h, DISK_USE_CONFIGURED, "sda1 → /media/cdrom0 in /etc/fstab", false));
        assert_true(has_use(h, DISK_USE_CONFIGURED, "sda1 → /label in /etc/fstab", true));
        assert_true(has_use(h, DISK_USE_CONFIGURED, "sda1 → secret in /etc/crypttab", true));
}

static void users_that_claim_nothing_are_found(void **state) {
        Tree *m = *state;

        tree_put_disk(m);
        tree_put_link(m, "sys/class/block/sda1", "../../../" DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1");
        tree_put(m, "sys/devices/virtual/block/loop0/loop/backing_file", "/dev/sda1\n");
        tree_put_link(m, "sys/class/block/loop0", "../../devices/virtual/block/loop0");
        tree_put(m, "sys/kernel/config/nvmet/subsystems/nqn/namespaces/1/device_path", "/dev/sda\n");
        tree_put(m, "sys/kernel/config/nvmet/subsystems/nqn/namespaces/1/enable", "1\n");
        tree_put_link(m, "sys/class/nvme/nvme7", "../../../" DEVICE);
        tree_put(m, "sys/kernel/config/nvmet/subsystems/whole/passthru/device_path", "/dev/nvme7\n");
        tree_put(m, "sys/kernel/config/nvmet/subsystems/whole/passthru/enable", "1\n");
        tree_put(m, "sys/kernel/config/target/core/fileio_0/disk/udev_path", "/dev/sda");
        _cleanup_(host_freep) Host *h = read_host(m);
        assert_true(has_use(h, DISK_USE_LOOP, "sda1 → loop0", false));
        assert_true(has_use(h, DISK_USE_TARGET, "sda → NVMe target nqn", false));
        assert_true(has_use(h, DISK_USE_TARGET, "sda → NVMe target whole", false));
        assert_true(has_use(h, DISK_USE_TARGET, "sda → SCSI target disk", false));
}

static void without_mountinfo_the_uses_are_not_known(void **state) {
        Tree *m = *state;

        (void) unlinkat(m->root, "proc/1/mountinfo", 0);
        (void) unlinkat(m->root, "proc/self/mountinfo", 0);
        _cleanup_(host_freep) Host *h = read_host(m);
        assert_false(h->uses_known);
}

static void guests_come_from_their_files(void **state) {
        Tree *m = *state;

        tree_put(m, "etc/libvirt/qemu/nas.xml",
                 "<domain type='kvm'><name>nas</name><uuid>11111111-2222-3333-4444-555555555555</uuid><devices>"
                 "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                 "<address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source></hostdev>"
                 "<disk type='nvme' device='disk'><source type='pci' managed='yes' namespace='1'>"
                 "<address domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></source></disk>"
                 "</devices></domain>");
        _cleanup_(host_freep) Host *h = read_host(m);
        const PciAddress nvme = { 0, 5, 0, 0 };
        assert_non_null(host_guest_with_device(h, &nvme, NULL));
        const GuestDevice *d = NULL;
        const Guest *g = host_guest_with_device(h, &controller, &d);
        assert_non_null(g);
        assert_string_equal(g->name, "nas");
        assert_true(d->managed);
        assert_true(d->in_config);
}

static void hostile_domain_files_are_refused(void **state) {
        static const char *const texts[] = {
                "", "<domain>", "<domain><name/></domain>", "not xml at all",
                "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>",
        };
        Tree *m = *state;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_error_ Error *e = NULL;
                Host *h = NULL;
                tree_put(m, "etc/libvirt/qemu/bad.xml", texts[i]);
                int r = probe_host(m->root, PROBE_GUESTS, &h, &e);
                if (r >= 0)
                        fail_msg("\"%s\" was taken for a domain", texts[i]);
                assert_non_null(strstr(e->message, "bad.xml"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(large_domains_and_groups_are_read),
                TREE_TEST(reserved_regions_are_told_apart),
                TREE_TEST(unreadable_functions_are_errors),
                TREE_TEST(unreadable_records_are_errors),
                TREE_TEST(uses_are_found_through_partitions),
                TREE_TEST(users_that_claim_nothing_are_found),
                TREE_TEST(without_mountinfo_the_uses_are_not_known),
                TREE_TEST(guests_come_from_their_files),
                TREE_TEST(hostile_domain_files_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
