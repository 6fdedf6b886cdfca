/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recording gives the findings of what was recorded, and tells nobody whose machine it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "check/check.h"
#include "probe/probe.h"
#include "probe/recording.h"
#include "record/record.h"
#include "record/source.h"
#include "support-tree.h"

#define SERIAL "WD-WCC4N0ABCDEF"
#define SHORT_SERIAL "1234"
#define WWN "5000c500a1b2c3d4"
#define UUID "c0ffee00-1234-4abc-8def-0123456789ab"
#define FAT_UUID "ABCD-EF01"
#define TABLE_UUID "7a1f00d5"
#define MAC "52:54:00:12:34:56"
#define HOST_NAME "bluebottle"
#define DOMAIN "reef.example"
#define PCI_SERIAL "\x88\x77\x66\x55\x44\x33\x22\x11"
#define BLOCK DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda"

/* Of a disk that the host does not see, as its controller is assigned. */
#define SESSION_SERIAL "SESSION77"
#define ASSIGNED_SERIAL "ZQ7ASSIGNED42"
#define ASSIGNED_NUMBER "fedcba9876543217"

static const char *const identifiers[] = { SERIAL, WWN, UUID, FAT_UUID, TABLE_UUID, MAC, HOST_NAME, DOMAIN, PCI_SERIAL, "hunter2", "sesame", "=" SHORT_SERIAL, ASSIGNED_SERIAL, SESSION_SERIAL,
                                          ASSIGNED_NUMBER };

static void put_config(const Tree *m) {
        uint8_t config[4096] = { 0x86, 0x80, 0x22, 0x29 };

        memcpy(config + 0x100, "\x03\x00\x01\x00" PCI_SERIAL, 12);
        tree_make_directories(m, DEVICE "/config");
        _cleanup_close_ int fd = openat(m->root, DEVICE "/config", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(write(fd, config, sizeof config), sizeof config);
}

static void put_machine(const Tree *m) {
        put_config(m);
        tree_put_disk(m);
        tree_put(m, "sys/devices/virtual/iommu/dmar0/uevent", "");
        tree_put_link(m, "sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0");
        tree_put(m, BLOCK "/serial", SERIAL "\n");
        tree_put(m, BLOCK "/wwid", "naa." WWN "\n");
        tree_put_link(m, "sys/class/block/sda1", "../../../" BLOCK "/sda1");
        tree_put(m, "run/udev/data/b8:0",
                 "S:disk/by-id/ata-DISK_" SERIAL "\nE:ID_SERIAL_SHORT=" SERIAL "\nE:ID_WWN=0x" WWN "\nE:ID_MODEL=DISK\nE:OTHER=sesame\n");
        tree_put(m, "run/udev/data/b8:16", "E:ID_SERIAL_SHORT=" SHORT_SERIAL "\nE:ID_PART_TABLE_UUID=" TABLE_UUID "\n");
        tree_put(m, "proc/cmdline", "root=UUID=" UUID " rd.luks.key=hunter2 quiet intel_iommu=on\n");
        tree_put(m, "proc/1/mountinfo", "30 22 8:1 / /srv/" HOST_NAME " rw - ext4 /dev/sda1 rw\n31 22 0:42 / /mnt rw - nfs filer:/x rw,pw=sesame\n"
                                        "32 22 8:1 / /srv/" HOST_NAME "." DOMAIN " rw - ext4 /dev/sda1 rw\n"
                                        "33 22 8:1 / /srv/spare." DOMAIN " rw - ext4 /dev/sda1 rw\n");
        tree_put(m, "etc/modprobe.d/local.conf", "# sesame\noptions wifi key=sesame\noptions vfio-pci \\\n ids=8086:2922 other=sesame\n"
                                                 "softdep ahci pre: vfio-pci\ninstall x echo sesame\n");
        tree_put_link(m, "proc/1/ns/mnt", "mnt:[1]");
        tree_put(m, "proc/70/comm", "worker\n");
        tree_put(m, "proc/70/mountinfo", "30 22 8:0 / /hidden rw - ext4 /dev/sda rw\n");
        tree_put_link(m, "proc/70/ns/mnt", "mnt:[2]");
        tree_put(m, "etc/hostname", HOST_NAME "\n");
        tree_put(m, "etc/hosts", "127.0.0.1 localhost\n127.0.1.1 " HOST_NAME "." DOMAIN " " HOST_NAME "\n");
        tree_put(m, "etc/passthru/assignments.d/0000:09:00.0.json",
                 "{\"version\": 1, \"address\": \"0000:09:00.0\", \"guest\": \"nas\", \"vendor\": \"0x1000\", \"device\": \"0x0072\", "
                 "\"subsystem_vendor\": \"0x1000\", \"subsystem_device\": \"0x3020\", \"class\": \"0x010700\", \"revision\": \"0x03\", "
                 "\"serial\": \"0x" ASSIGNED_NUMBER "\", \"group_members\": [\"0000:09:00.0\"], \"disk_serials\": [\"" ASSIGNED_SERIAL "\"]}\n");
        tree_put(m, "etc/fstab", "# sesame\nUUID=" UUID " /backup ext4 defaults 0 0\nfiler:/x /y nfs password=sesame 0 0\n"
                                 "/dev/disk/by-id/ata-DISK_" SERIAL " /raw ext4 x-sesame 0 0\nUUID=" FAT_UUID " /efi vfat defaults 0 0\n");
        tree_put(m, "sys/devices/virtual/block/dm-0/dev", "253:0\n");
        tree_put(m, "sys/devices/virtual/block/dm-0/dm/uuid", "mpath-3" WWN "\n");
        tree_put(m, "sys/devices/virtual/block/dm-0/dm/name", "3" WWN "\n");
        tree_put_link(m, "sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
        tree_put(m, "dev/sda", "");
        tree_put(m, "dev/sda1", "");
        tree_put_link(m, "dev/disk/by-uuid/" UUID, "../../sda1");
        tree_put_link(m, "dev/disk/by-uuid/" FAT_UUID, "../../sda1");
        tree_put_link(m, "dev/disk/by-id/ata-DISK_" SERIAL, "../../sda");
        tree_put(m, "etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n");
        tree_put(m, "run/user/1000/libvirt/qemu/run/live.xml",
                 "<domstatus state='running'><domain type='kvm'><name>live</name><devices><disk type='block'><source dev='/dev/sda1'/>"
                 "<serial>" SESSION_SERIAL "</serial></disk></devices></domain></domstatus>");
        tree_put(m, "home/eve/.config/libvirt/qemu/off.xml",
                 "<domain type='kvm'><name>off</name><description>sesame</description><devices>"
                 "<disk type='block'><source dev='/dev/disk/by-id/ata-DISK_" SERIAL "'/></disk>"
                 "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source>"
                 "</hostdev></devices></domain>");
        tree_put(m, "etc/libvirt/qemu/nas.xml",
                 "<domain type='kvm'><name>nas</name><uuid>" UUID "</uuid><title>sesame</title><description>" HOST_NAME "</description>"
                 "<os><type machine='pc-q35-7.2'>hvm</type><cmdline>key=sesame</cmdline></os><devices>"
                 "<graphics type='vnc' passwd='sesame' listen='" HOST_NAME "'/><interface type='bridge'><mac address='" MAC "'/></interface>"
                 "<disk type='block'><source dev='/dev/disk/by-id/ata-DISK_" SERIAL "'><encryption><secret uuid='" UUID "'/></encryption>"
                 "</source><serial>" SERIAL "</serial></disk>"
                 "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source>"
                 "</hostdev></devices></domain>");
}

static Host *read_host(int root) {
        _cleanup_error_ Error *e = NULL;
        Host *h = NULL;

        if (probe_host(root, PROBE_GUESTS, &h, &e) < 0)
                fail_msg("%s", e && e->message ? e->message : "no reason");
        return h;
}

static char *findings(int root) {
        _cleanup_(host_freep) Host *h = read_host(root);
        _cleanup_findings_ FindingList l = {};

        assert_int_equal(check_preflight(h, NULL, 0, NULL, &l, NULL), 0);
        _cleanup_json_ json_t *j = finding_list_to_json(&l);
        return json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS);
}

/* Records the tree into its folder "copy"; the fd of that. */
static int record(const Tree *m, bool raw) {
        _cleanup_(aliases_freep) Aliases *a = aliases_new(raw);
        _cleanup_(host_freep) Host *h = read_host(m->root);
        _cleanup_error_ Error *e = NULL;
        size_t files;

        assert_int_equal(mkdirat(m->root, "copy", 0700), 0);
        int copy = openat(m->root, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(copy >= 0);
        if (record_host(m->root, h, copy, a, &files, &e) < 0)
                fail_msg("%s", e->message);
        assert_true(files > 20);
        return copy;
}

/* In names, links and contents. */
static bool holds(const Tree *m, const char *word) {
        char command[512];

        (void) snprintf(command, sizeof command,
                        "cd %s/copy && { grep -rqaiF -e '%s' . || find . -printf '%%p %%l\\n' | grep -qiF -e '%s'; }", m->path, word, word);
        return system(command) == 0;
}

static void a_recording_gives_the_same_findings(void **state) {
        Tree *m = *state;

        put_machine(m);
        _cleanup_free_ char *expected = findings(m->root);
        _cleanup_close_ int copy = record(m, true);
        _cleanup_free_ char *found = findings(copy);
        assert_string_equal(found, expected);
        assert_non_null(strstr(found, "sda1 → /backup in /etc/fstab"));
        assert_non_null(strstr(found, "/raw in /etc/fstab"));
        assert_non_null(strstr(found, "disk of guest live of qemu:///session of eve"));
        assert_non_null(strstr(found, "disk of guest off of qemu:///session of eve"));
        assert_non_null(strstr(found, "0000:03:00.0 belongs to guest off of qemu:///session of eve"));
        assert_non_null(strstr(found, "local.conf: vfio-pci ids=8086:2922"));
        assert_non_null(strstr(found, "softdep ahci pre: vfio-pci"));
        assert_non_null(strstr(found, "/hidden (mount namespace of pid 70 worker)"));
}

static void identifiers_are_replaced(void **state) {
        Tree *m = *state;

        put_machine(m);
        _cleanup_close_ int copy = record(m, false);
        for (size_t i = 0; i < ELEMENTSOF(identifiers); i++)
                if (holds(m, identifiers[i]))
                        fail_msg("%s is in the recording", identifiers[i]);
        _cleanup_free_ char *found = findings(copy);
        assert_non_null(strstr(found, "sda1 → /backup in /etc/fstab"));
        assert_non_null(strstr(found, "/raw in /etc/fstab"));
        assert_non_null(strstr(found, "disk of guest nas"));
        _cleanup_(host_freep) Host *h = read_host(copy);
        const PciAddress address = { 0, 3, 0, 0 };
        assert_true(host_find_function(h, &address)->has_serial);
        assert_non_null(h->disks[0].serial);
        assert_int_equal(strlen(h->disks[0].serial), strlen(SERIAL));
        assert_non_null(strstr(h->command_line, "intel_iommu=on"));
}

/* The host's full name is known, its short one or its domain not. */
static void names_and_domains_are_replaced(void **state) {
        static const char *const files[][2] = {
                { "etc/hostname", HOST_NAME "." DOMAIN "\n" },
                { "etc/resolv.conf", "nameserver 10.0.0.1\nsearch lan " DOMAIN "\n" },
        };
        Tree *m = *state;

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                put_machine(m);
                tree_put(m, "etc/hosts", "127.0.0.1 localhost\n");
                tree_put(m, files[i][0], files[i][1]);
                _cleanup_close_ int copy = record(m, false);
                assert_false(holds(m, HOST_NAME) || holds(m, DOMAIN));
                tree_remove_path(m, "copy");
        }
}

/* Which check says what of which subject. */
static char *verdicts(int root) {
        _cleanup_(host_freep) Host *h = read_host(root);
        _cleanup_findings_ FindingList l = {};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_int_equal(check_preflight(h, NULL, 0, "nas", &l, NULL), 0);
        for (size_t i = 0; i < l.n; i++)
                (void) fprintf(f, "%s %s %s\n", l.items[i].check, verdict_to_string(l.items[i].verdict), l.items[i].subject);
        (void) fclose(f);
        return text;
}

/* People call a machine "storage" or "disks". */
static void a_name_that_is_a_word_spoils_nothing(void **state) {
        static const char *const names[] = {
                "disks", "guests", "exclusive", "kind", "running", "qemu", "libvirt", "disk", "domain", "block", "passthru", "storage", "ahci",
                "root", "pci", "dev", "zfs", "target", "version", "q35", "",
        };
        Tree *m = *state;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                put_machine(m);
                tree_put(m, "etc/hostname", names[i]);
                _cleanup_free_ char *expected = verdicts(m->root);
                _cleanup_close_ int copy = record(m, false);
                _cleanup_free_ char *found = verdicts(copy);
                if (!str_equal(found, expected))
                        fail_msg("%s: %s instead of %s", names[i], found, expected);
                tree_remove_path(m, "copy");
        }
}

static void raw_recordings_keep_them(void **state) {
        Tree *m = *state;

        put_machine(m);
        _cleanup_close_ int copy = record(m, true);
        assert_true(holds(m, SERIAL) && holds(m, UUID) && holds(m, MAC));
        assert_false(holds(m, "sesame") || holds(m, "hunter2"));
}

/* What no file tells comes back from the file of live facts. */
static void live_facts_come_back(void **state) {
        Tree *m = *state;

        put_machine(m);
        tree_remove_path(m, "run/user");
        _cleanup_(host_freep) Host *h = read_host(m->root);
        h->disks[0].exclusive = TRI_NO;
        h->exclusive_tried = true;
        h->vfio_pci = TRI_NO;
        h->guests[0].state = GUEST_PAUSED;
        h->guests[0].live_definition = strdup("<domain><name>nas</name><devices><hostdev type='pci'><source>\n"
                                              "<address bus='0x07' slot='0x00' function='0x1'/></source></hostdev></devices></domain>\n");
        _cleanup_json_ json_t *j = recording_to_json(h);
        _cleanup_free_ char *text = json_dumps(j, 0);
        tree_put(m, "passthru-recording.json", text);
        _cleanup_(host_freep) Host *again = read_host(m->root);
        assert_int_equal(again->disks[0].exclusive, TRI_NO);
        assert_true(again->exclusive_tried);
        assert_int_equal(again->vfio_pci, TRI_NO);
        assert_int_equal(again->guests[0].state, GUEST_PAUSED);
        assert_int_equal(again->guests[0].n_devices, 2);
        assert_true(again->guests[0].devices[1].in_live);
        _cleanup_json_ json_t *second = recording_to_json(again);
        assert_true(json_equal(j, second));
}

static void broken_facts_are_refused(void **state) {
        static const char *const texts[] = {
                "", "[]", "{}", "{\"version\":2}", "{\"version\":1,\"vfio_pci\":7}", "{\"version\":1,\"architecture\":[]}",
                "{\"version\":1,\"disks\":[{\"name\":\"sdz\"}]}", "{\"version\":1,\"guests\":[{}]}",
                "{\"version\":1,\"guests\":[{\"name\":\"x\",\"state\":\"lost\"}]}",
                "{\"version\":1,\"guests\":[{\"name\":\"x\",\"live_definition\":[\"no xml\"]}]}",
                "{\"version\":1,\"guests\":[{\"name\":\"x\",\"session\":true,\"definition\":[\"no xml\"]}]}",
        };
        Tree *m = *state;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_error_ Error *e = NULL;
                Host *h = NULL;
                tree_put(m, "passthru-recording.json", texts[i]);
                if (probe_host(m->root, PROBE_GUESTS, &h, &e) >= 0)
                        fail_msg("%s was taken", texts[i]);
                assert_non_null(strstr(e->message, "passthru-recording.json"));
        }
}

static void assert_command_line(const char *text, const char *expected) {
        _cleanup_free_ char *kept = source_command_line(text);

        assert_string_equal(kept, expected);
}

static void secrets_of_the_command_line_are_left_out(void **state) {
        (void) state;
        assert_command_line("root=/dev/mapper/vg-root resume=UUID=12-34 iommu=pt quiet", "root=/dev/mapper/vg-root resume=UUID=12-34 iommu=pt quiet\n");
        assert_command_line("root=/dev/disk/by-path/pci-0000:03:00.0-ata-1", "root=/dev/disk/by-path/pci-0000:03:00.0-ata-1\n");
        assert_command_line("root=iscsi:user:sesame@10.0.0.1::::iqn", "root=(left-out)\n");
        assert_command_line("root=//server/share rootflags=username=x,password=sesame", "root=(left-out) rootflags=(left-out)\n");
        assert_command_line("cryptdevice=/dev/sda2:root:key=sesame BOOT_IMAGE=http://u:sesame@server/vmlinuz", "cryptdevice=(left-out) "
                                                                                                                "BOOT_IMAGE=(left-out)\n");
}

static void assert_alias(Aliases *a, const char *text, const char *expected) {
        _cleanup_free_ char *replaced = NULL;
        size_t size;

        assert_int_equal(aliases_text(a, text, strlen(text), false, &replaced, &size), 0);
        assert_string_equal(replaced, expected);
}

static void only_identifiers_are_replaced(void **state) {
        _cleanup_(aliases_freep) Aliases *a = aliases_new(false);

        (void) state;
        assert_int_equal(aliases_add(a, ALIAS_SERIAL, "AB 12345"), 0);
        assert_int_equal(aliases_add(a, ALIAS_SERIAL, "1048576"), 0);
        assert_int_equal(aliases_add(a, ALIAS_HOST, "debian"), 0);
        assert_int_equal(aliases_add(a, ALIAS_WWN, "0x00000000fee00001"), 0);
        assert_alias(a, "x=AB 12345 y=AB_12345 zAB 12345 AB 123456", "x=S0 00001 y=S0_00002 zAB 12345 AB 123456");
        assert_alias(a, "1048576\n", "1048576\n");
        assert_alias(a, "debian http://debian.org/debian/12 debian12", "host4 http://debian.org/debian/12 debian12");
        assert_alias(a, "0x00000000fee00000 0x00000000feefffff msi", "0x00000000fee00000 0x00000000feefffff msi");
        assert_alias(a, "0x00000000fee00001", "0x0000000000000005");
        assert_alias(a, "mpath-35000c50000000001 scsi-35000c50000000001", "mpath-30000000000000006 scsi-30000000000000006");
        assert_alias(a, "300000000fee00001 00000000fee00001", "30000000000000005 0000000000000005");
        assert_alias(a, "400000000fee00001", "400000000fee00001");
        assert_alias(a, "0000:03:00.0 52:54:00:12:34:56 00:11:22", "0000:03:00.0 00:00:00:00:00:07 00:11:22");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(a_recording_gives_the_same_findings), TREE_TEST(identifiers_are_replaced), TREE_TEST(names_and_domains_are_replaced),
                TREE_TEST(a_name_that_is_a_word_spoils_nothing), TREE_TEST(raw_recordings_keep_them),
                TREE_TEST(live_facts_come_back), TREE_TEST(broken_facts_are_refused), cmocka_unit_test(only_identifiers_are_replaced),
                cmocka_unit_test(secrets_of_the_command_line_are_left_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
