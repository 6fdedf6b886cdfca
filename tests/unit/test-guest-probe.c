/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is read from a domain's XML, from the files beside it, and from libosinfo's database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "probe/probe.h"
#include "support-tree.h"

/* Of LeakSanitizer, where it is linked. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

#define MIB (UINT64_C(1) << 20)

static const PciAddress controller = { 0, 3, 0, 0 };

static void read_tree(Tree *m, Host **ret) {
        _cleanup_error_ Error *e = NULL;

        tree_put(m, "proc/1/mountinfo", "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 8:1 / /srv rw - ext4 /dev/sda1 rw\n"
                                      "33 22 0:44 / /far rw - nfs4 filer:/export rw\n"
                                        "31 22 0:50 / /pool rw - btrfs /dev/sda rw\n33 22 0:44 / /far rw - nfs4 filer:/export rw\n");
        if (probe_host(m->root, PROBE_GUESTS, ret, &e) < 0)
                fail_msg("%s", e->message);
}

/* The guest "nas" with these elements in <domain> and in <devices>. */
static void put_guest(const Tree *m, const char *more, const char *devices) {
        char *xml;

        assert_true(asprintf(&xml, "<!-- made by libvirt --><domain type='kvm'><name>nas</name>%s<devices>%s</devices></domain>", more,
                             devices) > 0);
        tree_put(m, "etc/libvirt/qemu/nas.xml", xml);
        free(xml);
}

static Host *read_guest(Tree *m, const char *more, const char *devices) {
        Host *h = NULL;

        put_guest(m, more, devices);
        read_tree(m, &h);
        return h;
}

static const Guest *nas(const Host *h) {
        const Guest *g = host_find_guest(h, "nas");

        assert_non_null(g);
        return g;
}

static void machine_and_memory_are_read(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state,
                "<memory unit='GiB'>4</memory><currentMemory unit='KiB'>1048576</currentMemory>"
                "<memoryBacking><hugepages/></memoryBacking><os><type machine='pc-q35-7.2'>hvm</type></os>",
                "<memballoon model='virtio'/><interface type='network'><model type='e1000e'/></interface>"
                "<interface type='bridge'><model type='virtio'/></interface><interface type='hostdev'/>");
        const Guest *g = nas(h);

        assert_string_equal(g->machine, "pc-q35-7.2");
        assert_true(g->memory == 4096 * MIB);
        assert_true(g->current_memory == 1024 * MIB);
        assert_true(g->huge_pages);
        assert_int_equal(g->balloon, TRI_YES);
        assert_int_equal(g->n_networks, 2);
        assert_string_equal(g->emulated_network, "e1000e");
}

/* libvirt writes a network card of the host as an interface, too. */
static void host_interfaces_are_devices(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state, "",
                "<interface type='hostdev' managed='yes'><source><address type='pci' bus='7' slot='0' function='1'/></source></interface>"
                "<interface type='bridge'><source bridge='br0'/></interface>");

        assert_int_equal(nas(h)->n_devices, 1);
        assert_true(pci_address_equal(&nas(h)->devices[0].address, &(PciAddress){ 0, 7, 0, 1 }));
        assert_true(nas(h)->devices[0].managed);
}

static void absurd_memory_is_unknown(void **state) {
        static const char *const texts[] = {
                "<memory unit='TiB'>99999999999999</memory>", "<memory unit='parsec'>4</memory>", "<memory>much</memory>", "<memory/>", "",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(host_freep) Host *h = read_guest(*state, texts[i], "<memballoon model='none'/>");
                assert_true(nas(h)->memory == 0);
                assert_int_equal(nas(h)->balloon, TRI_NO);
                assert_null(nas(h)->emulated_network);
        }
}

static void host_memory_is_read(void **state) {
        Tree *m = *state;

        tree_put(m, "proc/meminfo", "MemTotal:       16384000 kB\nHugePages_Total:     512\nHugetlb:         1048576 kB\n");
        _cleanup_(host_freep) Host *h = read_guest(m, "", "");
        assert_true(h->memory == UINT64_C(16384000) << 10);
        assert_true(h->huge_memory == 1024 * MIB);
}

static void option_roms_are_told_apart(void **state) {
        static const struct {
                const char *rom;
                bool off;
        } cases[] = { { "", false }, { "<rom bar='on'/>", false }, { "<rom bar='off'/>", true }, { "<rom enabled='no'/>", true } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char devices[512];
                (void) snprintf(devices, sizeof devices,
                                "<hostdev type='pci'><source><address domain='0' bus='3' slot='0' function='0'/></source>%s"
                                "<boot order='1'/></hostdev>", cases[i].rom);
                _cleanup_(host_freep) Host *h = read_guest(*state, "", devices);
                assert_int_equal(nas(h)->n_devices, 1);
                assert_int_equal(nas(h)->devices[0].rom_off, cases[i].off);
                assert_true(nas(h)->devices[0].boots);
        }
}

static bool lies_behind_controller(const GuestDrive *d) {
        return d->n_controllers == 1 && pci_address_equal(&d->controllers[0], &controller);
}

static bool has_user(const Host *h, const char *chain) {
        for (size_t i = 0; i < h->n_disks; i++)
                for (size_t j = 0; j < h->disks[i].n_uses; j++)
                        if (h->disks[i].uses[j].kind == DISK_USE_GUEST && str_equal(h->disks[i].uses[j].chain, chain))
                                return true;
        return false;
}

static void put_partition(const Tree *m) {
        tree_put_disk(m);
        tree_put_link(m, "sys/class/block/sda1", "../../../" DEVICE "/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1");
}

/* Each kind of source that leads to the disk behind the controller, and some that do not. */
static void disks_are_found_behind_controllers(void **state) {
        static const struct {
                const char *disk;
                bool behind;
        } cases[] = {
                { "<disk type='block'><source dev='/dev/disk/by-id/ata-x'/><target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='file'><source file='/srv/nas.img'/><target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='file'><source file='/pool/nas.img'/><target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='file'><source file='/srvx/nas.img'/><target dev='vda' bus='virtio'/></disk>", false },
                /* a link there leads to the disk, but what is on a server is not looked at: the server may be dead */
                { "<disk type='file'><source file='/far/nas.img'/><target dev='vda' bus='virtio'/></disk>", false },
                { "<disk type='file'><source file='/x.qcow2'/><backingStore type='file'><source file='/y.qcow2'/>"
                  "<backingStore type='block'><source dev='/dev/sda1'/></backingStore></backingStore>"
                  "<target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='block'><source dev='/dev/sdz'/><target dev='vda' bus='virtio'/></disk>", false },
                { "<disk type='network'><source protocol='rbd' name='x'/><target dev='vda' bus='virtio'/></disk>", false },
                { "<disk type='volume'><source pool='disks' volume='sda1'/><target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='volume'><source pool='files' volume='nas.img'/><target dev='vda' bus='virtio'/></disk>", true },
                { "<disk type='volume'><source pool='away' volume='x'/><target dev='vda' bus='virtio'/></disk>", false },
        };
        Tree *m = *state;

        put_partition(m);
        tree_put(m, "dev/sda", "");
        tree_put_link(m, "dev/disk/by-id/ata-x", "../../sda");
        tree_put_link(m, "far/nas.img", "/dev/sda");
        tree_put(m, "etc/libvirt/storage/disks.xml", "<!-- made by libvirt --><pool type='disk'><source><device path='/dev/sda'/>"
                                                     "</source><target><path>/dev</path></target></pool>");
        tree_put(m, "etc/libvirt/storage/files.xml", "<pool type='dir'><target><path>/srv</path></target></pool>");
        tree_put(m, "etc/libvirt/storage/away.xml", "<pool type='rbd'><source><device path='iqn.2020-01.x'/></source></pool>");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(host_freep) Host *h = read_guest(m, "", cases[i].disk);
                assert_int_equal(nas(h)->n_drives, 1);
                const GuestDrive *d = &nas(h)->drives[0];
                assert_null(d->problem);
                assert_string_equal(d->name, "vda");
                assert_true(d->fixed && d->paravirtual);
                if (lies_behind_controller(d) != cases[i].behind)
                        fail_msg("%s", cases[i].disk);
        }
}

static void pools_that_are_not_there_are_said(void **state) {
        static const char *const pools[] = { "none", "../../../etc/passwd", "bad" };
        Tree *m = *state;

        tree_put(m, "etc/libvirt/storage/bad.xml", "<domain/>");
        for (size_t i = 0; i < ELEMENTSOF(pools); i++) {
                char disk[256];
                (void) snprintf(disk, sizeof disk, "<disk type='volume'><source pool='%s' volume='x'/><target dev='vda'/></disk>", pools[i]);
                _cleanup_(host_freep) Host *h = read_guest(m, "", disk);
                assert_non_null(nas(h)->drives[0].problem);
                assert_non_null(strstr(nas(h)->drives[0].problem, pools[i]));
        }
}

static void scsi_devices_are_found(void **state) {
        Tree *m = *state;

        put_partition(m);
        tree_put_link(m, "sys/class/scsi_host/host0", "../../../" DEVICE "/ata1/host0/scsi_host/host0");
        tree_put(m, DEVICE "/ata1/host0/scsi_host/host0/state", "running\n");
        tree_put(m, "sys/class/scsi_device/0:0:0:0/device/block/sda/dev", "8:0\n");
        _cleanup_(host_freep) Host *h = read_guest(m, "",
                "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
                "<address bus='0' target='0' unit='0'/></source></hostdev>"
                "<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.x'><host name='x'/></source></hostdev>"
                "<hostdev mode='subsystem' type='usb'/>");
        assert_int_equal(nas(h)->n_drives, 1);
        const GuestDrive *d = &nas(h)->drives[0];
        assert_true(d->scsi_device && !d->fixed);
        assert_string_equal(d->name, "scsi_host0:0:0:0");
        assert_true(lies_behind_controller(d));
        assert_true(has_user(h, "sda → disk of guest nas"));
}

static void vhost_targets_are_found(void **state) {
        Tree *m = *state;

        put_partition(m);
        tree_put(m, "sys/kernel/config/target/core/iblock_0/tank/udev_path", "/dev/sda1\n");
        tree_put_link(m, "sys/kernel/config/target/vhost/naa.6001/tpgt_1/lun/lun_0/x", "../../../../../core/iblock_0/tank");
        _cleanup_(host_freep) Host *h = read_guest(m, "",
                "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.6001'/></hostdev>"
                "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='../core/iblock_0/tank'/></hostdev>");
        assert_int_equal(nas(h)->n_drives, 2);
        assert_string_equal(nas(h)->drives[0].name, "naa.6001");
        assert_true(nas(h)->drives[0].scsi_device && lies_behind_controller(&nas(h)->drives[0]));
        assert_int_equal(nas(h)->drives[1].n_sources, 0);
}

static void disks_on_virtio_scsi_are_paravirtual(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state, "",
                "<controller type='scsi' index='0' model='lsilogic'/><controller type='scsi' index='1' model='virtio-scsi'/>"
                "<disk device='disk'><target dev='sda' bus='scsi'/><address type='drive' controller='0'/></disk>"
                "<disk device='disk'><target dev='sdb' bus='scsi'/><address type='drive' controller='1'/><boot order='3'/></disk>"
                "<disk device='disk'><target dev='sdc' bus='sata'/><address type='drive' controller='1'/></disk>"
                "<disk device='cdrom'><target dev='sdd' bus='sata'/></disk>");
        const Guest *g = nas(h);

        assert_int_equal(g->n_drives, 4);
        assert_false(g->drives[0].paravirtual);
        assert_true(g->drives[1].paravirtual);
        assert_int_equal(g->drives[1].boot_order, 3);
        assert_false(g->drives[2].paravirtual);
        assert_true(g->drives[2].fixed && !g->drives[3].fixed);
}

static void saved_states_are_found(void **state) {
        Tree *m = *state;

        {
                _cleanup_(host_freep) Host *h = read_guest(m, "", "");
                assert_int_equal(nas(h)->managed_save, TRI_UNKNOWN);
                assert_int_equal(nas(h)->memory_snapshots, -1);
                assert_int_equal(nas(h)->autostart, TRI_UNKNOWN);
        }
        tree_put(m, "var/lib/libvirt/qemu/save/other.save", "");
        tree_put(m, "var/lib/libvirt/qemu/snapshot/other/a.xml", "");
        tree_put_link(m, "etc/libvirt/qemu/autostart/other.xml", "/etc/libvirt/qemu/nas.xml");
        {
                _cleanup_(host_freep) Host *h = read_guest(m, "", "");
                assert_int_equal(nas(h)->managed_save, TRI_NO);
                assert_int_equal(nas(h)->memory_snapshots, 0);
                assert_int_equal(nas(h)->autostart, TRI_NO);
        }
        tree_put(m, "var/lib/libvirt/qemu/save/nas.save", "");
        tree_put(m, "var/lib/libvirt/qemu/snapshot/nas/a.xml", "<domainsnapshot><state>running</state></domainsnapshot>");
        tree_put(m, "var/lib/libvirt/qemu/snapshot/nas/b.xml", "<domainsnapshot><state>shutoff</state></domainsnapshot>");
        tree_put(m, "var/lib/libvirt/qemu/snapshot/nas/c.xml", "<domainsnapshot><state>disk-snapshot</state></domainsnapshot>");
        tree_put_link(m, "etc/libvirt/qemu/autostart/nas.xml", "/etc/libvirt/qemu/nas.xml");
        _cleanup_(host_freep) Host *h = read_guest(m, "", "");
        assert_int_equal(nas(h)->managed_save, TRI_YES);
        assert_int_equal(nas(h)->memory_snapshots, 1);
        assert_int_equal(nas(h)->autostart, TRI_YES);
}

/* -- users' own guests --------------------------------------------------------------------------------------------------- */

#define DEVICES "<devices><hostdev type='pci'><source><address bus='3' slot='0'/></source></hostdev></devices>"

static void sessions_are_read(void **state) {
        Tree *m = *state;

        tree_put(m, "etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n");
        tree_put(m, "run/user/1000/libvirt/qemu/run/a.xml", "<domstatus state='running'><domain><name>nas</name>" DEVICES
                                                            "</domain></domstatus>");
        tree_put(m, "home/alice/.config/libvirt/qemu/b.xml", "<domain><name>other</name>" DEVICES "</domain>");
        tree_put(m, "run/user/1001/libvirt/qemu/run/c.xml", "<domstatus><domain><name>third</name></domain></domstatus>");
        _cleanup_(host_freep) Host *h = read_guest(m, "", "");
        assert_int_equal(h->n_guests, 4);
        assert_string_equal(h->guests[0].name, "nas");
        assert_false(h->guests[0].session);
        assert_string_equal(h->guests[1].name, "nas of qemu:///session of alice");
        assert_true(h->guests[1].session && h->guests[1].devices[0].in_live);
        assert_int_equal(h->guests[1].state, GUEST_RUNNING);
        assert_string_equal(h->guests[2].name, "other of qemu:///session of alice");
        assert_true(h->guests[2].devices[0].in_config);
        assert_string_equal(h->guests[3].name, "third of qemu:///session of 1001");
        assert_null(host_find_guest(h, "nas of qemu:///session of alice"));
}

/* Any user can put anything there: it must neither stop nor block what reads it. */
static void hostile_sessions_are_left_out(void **state) {
        Tree *m = *state;
        char path[256], text[512];

        tree_put(m, "run/user/1000/libvirt/qemu/run/a.xml", "no xml");
        tree_put(m, "run/user/1000/libvirt/qemu/run/b.xml", "<domain><name>x</name></domain>");
        tree_put(m, "run/user/1000/libvirt/qemu/run/c.xml", "<domstatus/>");
        (void) snprintf(text, sizeof text, "<domstatus><domain><name>%0300d</name></domain></domstatus>", 1);
        tree_put(m, "run/user/1000/libvirt/qemu/run/f.xml", text);
        tree_put_link(m, "run/user/1000/libvirt/qemu/run/d.xml", "/etc/libvirt/qemu/nas.xml");
        (void) snprintf(path, sizeof path, "%s/run/user/1000/libvirt/qemu/run/e.xml", m->path);
        assert_int_equal(mkfifo(path, 0600), 0);
        _cleanup_(host_freep) Host *h = read_guest(m, "", "");
        assert_int_equal(h->n_guests, 1);
}

/* -- the running guest --------------------------------------------------------------------------------------------------- */

static void read_live(const char *devices, Guest *g) {
        _cleanup_error_ Error *e = NULL;
        char *xml;

        assert_true(asprintf(&xml, "<domain><name>nas</name><devices>%s</devices></domain>", devices) > 0);
        if (guest_from_xml(xml, true, g, &e) < 0)
                fail_msg("%s", e->message);
        free(xml);
}

static void free_ports_are_counted(void **state) {
        _cleanup_(guest_clear) Guest q35 = GUEST_UNREAD, i440fx = GUEST_UNREAD, none = GUEST_UNREAD;

        (void) state;
        read_live("<controller type='pci' index='0' model='pcie-root'/>"
                  "<controller type='pci' index='1' model='pcie-root-port'><address type='pci' bus='0' slot='1'/></controller>"
                  "<controller type='pci' index='2' model='pcie-root-port'><address type='pci' bus='0' slot='2'/></controller>"
                  "<controller type='pci' index='3' model='pcie-root-port'><target chassis='3' hotplug='off'/></controller>"
                  "<controller type='pci' index='4' model='pcie-to-pci-bridge'><address type='pci' bus='1' slot='0'/></controller>"
                  "<hostdev type='pci'><source><address bus='2' slot='0'/></source><address type='pci' bus='4' slot='1'/></hostdev>",
                  &q35);
        assert_true(q35.ports.known && q35.ports.express);
        assert_int_equal(q35.ports.free_ports, 1);
        assert_int_equal(q35.ports.free_slots, 30);
        read_live("<controller type='pci' index='0' model='pci-root'/>"
                  "<video><address type='pci' bus='0' slot='2'/></video>"
                  "<controller type='usb'><address type='pci' bus='0' slot='1' function='2'/></controller>", &i440fx);
        assert_true(i440fx.ports.known && !i440fx.ports.express);
        assert_int_equal(i440fx.ports.free_slots, 29);
        read_live("", &none);
        assert_false(none.ports.known);
}

static void endless_definitions_are_refused(void **state) {
        _cleanup_(guest_clear) Guest g = GUEST_UNREAD;
        _cleanup_error_ Error *e = NULL;
        char *xml = NULL;
        size_t size;
        FILE *stream = open_memstream(&xml, &size);

        (void) state;
        assert_non_null(stream);
        (void) fputs("<domain><name>nas</name><devices>", stream);
        for (unsigned i = 0; i < 5000; i++)
                (void) fprintf(stream, "<disk><target dev='d%u'/></disk>", i);
        (void) fputs("</devices></domain>", stream);
        assert_int_equal(fclose(stream), 0);
        assert_int_equal(guest_from_xml(xml, false, &g, &e), -EINVAL);
        free(xml);
}

/* -- libosinfo ----------------------------------------------------------------------------------------------------------- */

#define METADATA(id) \
        "<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'><libosinfo:os id='" id "'/>" \
        "</libosinfo:libosinfo></metadata>"

/* A database of two systems, the second of which has what the first has. */
static void look_up(const Tree *m, Host *h) {
        _cleanup_error_ Error *e = NULL;
        char folder[128];

        tree_put(m, "osinfo/os/example.org/nas-1.xml",
                 "<libosinfo version='0.0.1'><os id='http://example.org/nas/1'><name>NAS 1</name><devices>"
                 "<device id='http://pcisig.com/pci/1af4/1001'/><device id='http://pcisig.com/pci/1af4/1000'/>"
                 "</devices></os></libosinfo>");
        tree_put(m, "osinfo/os/example.org/nas-2.xml",
                 "<libosinfo version='0.0.1'><os id='http://example.org/nas/2'><name>NAS 2</name>"
                 "<derives-from id='http://example.org/nas/1'/><devices><device id='http://qemu.org/chipset/x86/q35'/></devices>"
                 "</os></libosinfo>");
        tree_put(m, "osinfo/device/qemu.org/chipset-x86-q35.xml",
                 "<libosinfo version='0.0.1'><device id='http://qemu.org/chipset/x86/q35'><name>q35</name></device></libosinfo>");
        (void) snprintf(folder, sizeof folder, "%s/osinfo", m->path);
        (void) setenv("OSINFO_SYSTEM_DIR", folder, true);
        /* libosinfo 1.10 loses some bytes whenever it reads its files; the process that does it ends soon. */
        if (__lsan_disable)
                __lsan_disable();
        assert_int_equal(probe_guest_system(h, "nas", &e), 0);
        if (__lsan_enable)
                __lsan_enable();
        assert_int_equal(probe_guest_system(h, NULL, &e), 0);
        assert_int_equal(probe_guest_system(h, "nobody", &e), 0);
}

static void drivers_come_from_the_database(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state, METADATA("http://example.org/nas/2"), "");

        look_up(*state, h);
        assert_string_equal(nas(h)->system.name, "NAS 2");
        assert_int_equal(nas(h)->system.virtio_block, TRI_YES);
        assert_int_equal(nas(h)->system.virtio_net, TRI_YES);
        assert_int_equal(nas(h)->system.virtio_scsi, TRI_NO);
        assert_int_equal(nas(h)->system.q35, TRI_YES);
        assert_null(nas(h)->system.problem);
}

static void unknown_systems_are_said(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state, METADATA("http://example.org/nas/3"), "");

        look_up(*state, h);
        assert_null(nas(h)->system.name);
        assert_non_null(strstr(nas(h)->system.problem, "http://example.org/nas/3"));
        assert_int_equal(nas(h)->system.virtio_block, TRI_UNKNOWN);
}

static void unnamed_systems_are_not_looked_up(void **state) {
        _cleanup_(host_freep) Host *h = read_guest(*state, "", "");

        look_up(*state, h);
        assert_null(nas(h)->system.id);
        assert_null(nas(h)->system.problem);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TREE_TEST(machine_and_memory_are_read),
                TREE_TEST(host_interfaces_are_devices),
                TREE_TEST(absurd_memory_is_unknown),
                TREE_TEST(host_memory_is_read),
                TREE_TEST(option_roms_are_told_apart),
                TREE_TEST(disks_are_found_behind_controllers),
                TREE_TEST(pools_that_are_not_there_are_said),
                TREE_TEST(scsi_devices_are_found),
                TREE_TEST(vhost_targets_are_found),
                TREE_TEST(disks_on_virtio_scsi_are_paravirtual),
                TREE_TEST(saved_states_are_found),
                TREE_TEST(sessions_are_read),
                TREE_TEST(hostile_sessions_are_left_out),
                TREE_TEST(free_ports_are_counted),
                TREE_TEST(endless_definitions_are_refused),
                TREE_TEST(drivers_come_from_the_database),
                TREE_TEST(unknown_systems_are_said),
                TREE_TEST(unnamed_systems_are_not_looked_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
