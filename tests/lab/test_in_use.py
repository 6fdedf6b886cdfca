#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The in-use matrix: every kind of use of a disk, on real block devices, is refused with its name and chain and goes on
working; the free disk beside it, with data or without, is not flagged.

All uses are set up at once, on the disks of several controllers; then one preflight tells of them all."""
import re

import installed
import l2
import tap
from lab import Lab
from tap import Tap

suite = Tap()
GUEST = 'freenas'

SLEEP = '(setsid sleep 900 {0} > /dev/null 2>&1 < /dev/null & echo $! > /run/{1}.pid); sleep 0.5; kill -0 $(cat /run/{1}.pid)'
EXT4 = 'mke2fs -q -F -t ext4 {0} && mkdir -p /srv/{1} && mount {0} /srv/{1} && echo x > /srv/{1}/file'
SECTORS = '$(blockdev --getsz $D)'
LIO = '/sys/kernel/config/target/core'
NVMET = '/sys/kernel/config/nvmet/subsystems/lab'
ALIVE = 'kill -0 $(cat /run/{0}.pid)'
EXCLUSIVE = 'import os, sys, time; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL); time.sleep(900)'
DOMAIN = """<domain type='qemu'><name>disks</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>
<disk type='block' device='disk'><source dev='{0}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""


class Use:
    """disks: the lab's names, the first is $D and {n}, the second $E and {m}; evidence: what tells of each, as regular
    expressions."""

    def __init__(self, name, disks, setup, works, *evidence):
        self.name, self.disks, self.setup, self.works, self.evidence = name, disks.split(), setup, works, evidence


def file_on(target):
    return f'sync; grep -qx x /srv/{target}/file'


USES = [
    Use('a mount', 'a1', EXT4.format('$D', 'mount'), file_on('mount'), 'mount: {n} → /srv/mount'),
    Use('a mount in another mount namespace', 'a2',
        'mke2fs -q -F -t ext4 $D && mkdir -p /srv/hidden && (setsid unshare -m sh -c "mount $D /srv/hidden && '
        'echo x > /srv/hidden/file && echo \\$\\$ > /run/hidden.pid && exec sleep 900" > /dev/null 2>&1 < /dev/null &) ; '
        'for i in $(seq 50); do [ -e /run/hidden.pid ] && break; sleep 0.2; done; ! grep -q "^[^-]* $D " /proc/self/mounts',
        'nsenter -t $(cat /run/hidden.pid) -m grep -qx x /srv/hidden/file',
        r'mount: {n} → /srv/hidden \(mount namespace of pid \d+ sleep\)'),
    Use('swap', 'a3', 'mkswap -q $D && swapon $D', 'grep -q "^$D " /proc/swaps', 'swap: {n} → swap'),
    Use('md, and a mount on it', 'a4', 'mdadm -q --create /dev/md10 --level=1 --raid-devices=1 --force --metadata=1.2 $D && '
        + EXT4.format('/dev/md10', 'md'), file_on('md'), 'mount: {n} → md10 → /srv/md'),
    Use('md that is assembled and not started', 'a5',
        'mdadm -q --create /dev/md11 --level=1 --raid-devices=1 --force --metadata=1.2 $D && '
        'for i in $(seq 20); do udevadm settle; echo inactive > /sys/block/md11/md/array_state && break; sleep 0.5; done',
        'grep -q "^md11 : inactive" /proc/mdstat', r'md: {n} → md11 \(inactive\)'),
    Use('LVM', 'b1', 'pvcreate -qq -y $D && vgcreate -qq labvg $D && lvcreate -qq -y -Wn -l 100%FREE -n data labvg',
        'dd if=/dev/labvg/data of=/dev/null bs=4k count=1', r'LVM: {n} → dm-\d+ \(LVM labvg-data\)'),
    Use('dm-crypt', 'b2', 'echo secret | cryptsetup open --type plain --cipher aes-cbc-essiv:sha256 --key-size 256 '
        '--hash sha256 $D labcrypt', 'dd if=/dev/mapper/labcrypt of=/dev/null bs=4k count=1',
        r'dm-crypt: {n} → dm-\d+ \(dm-crypt labcrypt\)'),
    Use('a mount on LVM on dm-crypt on a partition', 'b3',
        'echo ,,L | sfdisk -q $D && udevadm settle -t 20 && echo secret | cryptsetup open --type plain '
        '--cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha256 ${D}1 deepcrypt && pvcreate -qq -y /dev/mapper/deepcrypt && '
        'vgcreate -qq deepvg /dev/mapper/deepcrypt && lvcreate -qq -y -Wn -l 100%FREE -n data deepvg && '
        + EXT4.format('/dev/deepvg/data', 'deep'), file_on('deep'),
        r'mount: {n}1 → dm-\d+ \(dm-crypt deepcrypt\) → dm-\d+ \(LVM deepvg-data\) → /srv/deep'),
    Use('multipath', 'b4', f'modprobe dm-multipath && modprobe dm-round-robin && echo "0 {SECTORS} multipath 0 0 1 1 '
        'round-robin 0 1 1 $D 1000" | dmsetup create labpath --uuid mpath-lab', 'dd if=/dev/mapper/labpath of=/dev/null count=1',
        r'multipath: {n} → dm-\d+ \(multipath labpath\)'),
    Use('another device-mapper table', 'b5', f'echo "0 {SECTORS} linear $D 0" | dmsetup create labmap',
        'dd if=/dev/mapper/labmap of=/dev/null count=1', r'device-mapper: {n} → dm-\d+ \(device-mapper labmap\)'),
    Use('a mount on a loop device', 'c1', 'losetup /dev/loop5 $D && ' + EXT4.format('/dev/loop5', 'loop'), file_on('loop'),
        'mount: {n} → loop5 → /srv/loop'),
    Use('bcache, backing and cache device', 'c2 c3',
        'make-bcache --bucket 32k -B $D -C $E > /dev/null && modprobe bcache && udevadm settle -t 20; '
        'for d in $D $E; do echo $d > /sys/fs/bcache/register || true; done; '
        'for i in $(seq 50); do [ -b /dev/bcache0 ] && break; sleep 0.2; done; [ -b /dev/bcache0 ] && [ -d /sys/block/$(basename $E)/bcache ]',
        'dd if=/dev/bcache0 of=/dev/null bs=4k count=1', 'bcache: {n} → bcache0', 'bcache: {m} → bcache'),
    Use('each device of a mounted btrfs', 'c4 c5',
        'mkfs.btrfs -q -f -L labtank -d raid1 -m raid1 $D $E && mkdir -p /srv/btrfs && mount $D /srv/btrfs && '
        'echo x > /srv/btrfs/file', file_on('btrfs'), 'mount: {n} → btrfs labtank → /srv/btrfs',
        'mount: {m} → btrfs labtank → /srv/btrfs'),
    Use('an imported ZFS pool', 'd1', 'zpool create labpool $D', 'zpool list -H -o health labpool | grep -qx ONLINE',
        r'(ZFS: {n} → ZFS pool labpool|process: {n} → zfs-fuse \(pid \d+\))'),
    Use('a SCSI target (iblock)', 'd2', f'modprobe target_core_iblock && mkdir -p {LIO}/iblock_0/labdisk && '
        f'echo "udev_path=$D" > {LIO}/iblock_0/labdisk/control && echo 1 > {LIO}/iblock_0/labdisk/enable',
        f'grep -q "iBlock device" {LIO}/iblock_0/labdisk/info', 'target: {n} → SCSI target labdisk'),
    Use('a SCSI target (fileio)', 'd3', f'modprobe target_core_file && mkdir -p {LIO}/fileio_1/labfile && '
        f'echo "fd_dev_name=$D,fd_dev_size=$(blockdev --getsize64 $D)" > {LIO}/fileio_1/labfile/control && '
        f'echo 1 > {LIO}/fileio_1/labfile/enable', f'grep -q "File: $D" {LIO}/fileio_1/labfile/info',
        'target: {n} → SCSI target labfile'),
    Use('an NVMe target', 'd4', f'modprobe nvmet && mkdir -p {NVMET}/namespaces/1 && '
        f'printf %s $D > {NVMET}/namespaces/1/device_path && echo 1 > {NVMET}/namespaces/1/enable',
        f'grep -qx 1 {NVMET}/namespaces/1/enable', 'target: {n} → NVMe target lab'),
    Use('a disk of a guest that is shut off, by id', 'd5', '', 'virsh dumpxml disks | grep -q by-id',
        'guest: {n} → disk of guest disks'),
    Use('a process', 'e1', SLEEP.format('3<>$D', 'disk'), ALIVE.format('disk'), r'process: {n} → sleep \(pid \d+\)'),
    Use('a process that has a partition open', 'e2', 'echo ,,L | sfdisk -q $D && udevadm settle -t 20 && '
        + SLEEP.format('3<${D}1', 'part'), ALIVE.format('part'),
        r'process: {n}1 → sleep \(pid \d+\)'),
    Use('a process that has its sg node open', 'e3', 'modprobe sg && udevadm settle -t 20 && '
        + SLEEP.format('3<>/dev/$(ls /sys/block/$(basename $D)/device/scsi_generic)', 'sg'), ALIVE.format('sg'),
        r'process: sg\d+ → sleep \(pid \d+\)'),
    Use('a process that has its bsg node open', 'e4',
        SLEEP.format('3<>/dev/bsg/$(basename $(readlink -f /sys/block/$(basename $D)/device))', 'bsg'), ALIVE.format('bsg'),
        r'process: \d+:0:0:0 → sleep \(pid \d+\)'),
    Use('a process that claims it', 'e5', f'(setsid python3 -c "{EXCLUSIVE}" $D > /dev/null 2>&1 < /dev/null & echo $! > '
        '/run/excl.pid); sleep 2', ALIVE.format('excl'), 'exclusive: {n} → opened exclusively'),
    Use('QEMU without libvirt', 'f1', 'qemu-system-x86_64 -accel tcg -S -m 32 -display none -nodefaults -daemonize '
        '-pidfile /run/qemu-lab.pid -drive file=$D,format=raw,if=virtio', ALIVE.format('qemu-lab'),
        r'process: {n} → qemu-system-x86 \(pid \d+\)'),
    Use('a process that has the generic NVMe node open', 'n1', SLEEP.format('3</dev/ng${D#/dev/nvme}', 'ng'), ALIVE.format('ng'), r'process: ng\d+n1 → sleep \(pid \d+\)'),
    Use('a process that has the NVMe controller open', 'n2', SLEEP.format('3<${D%n1}', 'nvme'), ALIVE.format('nvme'), r'process: nvme\d+ → sleep \(pid \d+\)'),
]

# Disks with data that nothing uses, beside those: what is done to them, and the signature that is told.
FREE = {
    'a6': ('mdadm -q --create /dev/md12 --level=1 --raid-devices=1 --force --metadata=1.2 $D && udevadm settle -t 20 && mdadm -q --stop /dev/md12',
           'linux_raid_member'),
    'b6': ('pvcreate -qq -y $D && vgcreate -qq idlevg $D && lvcreate -qq -y -Wn -an -l 100%FREE -n data idlevg', 'LVM2_member'),
    'c6': ('mke2fs -q -F -t ext4 -L idle $D', 'ext4'),
    'd6': ('', ''),
    'e6': ('zpool create idlepool $D && zpool export idlepool', 'zfs_member'),
    'f2': ('echo ,,L | sfdisk -q $D', 'dos'),
    'g1': ('', ''),
    'g2': ('wipefs -qa $D && mkswap -q $D', 'swap'),
}

SIZES = {'c3': '64M', 'c4': '128M', 'c5': '128M', 'd1': '100M', 'e6': '100M'}
IDLE = 'g1'


def topology():
    lines, port = [], 0
    for letter, count in zip('abcdefg', (6, 6, 6, 6, 6, 2, 2)):
        port += 1
        lines += [f'port{port} pcie root-port', f'sata-{letter} port{port} ahci']
        lines += [f'{letter}{i} sata-{letter} disk content=none size={SIZES.get(f"{letter}{i}", "16M")}' for i in range(1, count + 1)]
    for name in ('n1', 'n2'):
        port += 1
        lines += [f'port{port} pcie root-port', f'{name} port{port} nvme content=none size=16M']
    return '\n'.join(lines) + '\n'


class Matrix:
    def __init__(self, lab):
        self.lab = lab
        self.names = {}
        self.addresses = {}
        self.findings = []

    def name(self, disk):
        """L1's kernel name of the lab's disk."""
        if not self.names:
            serials = {d.serial: name for name, d in self.lab.disks.items()}
            found = installed.wait_for_serials(self.lab, serials)
            self.names = {serials[serial]: node for serial, node in found.items() if serial in serials}
        return self.names[disk]

    def run(self, disks, command, timeout=90):
        """A shell command about disks, with their nodes as $D and $E."""
        nodes = ' '.join(f'{variable}=/dev/{self.name(disk)}' for variable, disk in zip('DE', disks))
        return self.lab.run(f'set -e; export {nodes}; {command}', timeout=timeout)

    def set_up(self, use):
        if use.disks == ['d5']:
            link = self.lab.run(f'ls /dev/disk/by-id/*{self.lab.disks["d5"].serial} | head -n 1').out.strip()
            self.lab.write('/tmp/disks.xml', DOMAIN.format(link))
            use.setup = 'virsh define /tmp/disks.xml'
        self.run(use.disks, use.setup)

    def findings_of(self, disk, check='host-disk-use'):
        """The findings that name the disk, by its serial number."""
        serial = self.lab.disks[disk].serial
        return [f for f in self.findings if f['check'] == check and serial in f['message']]

    def address(self, disk):
        if disk not in self.addresses:
            self.addresses[disk] = installed.address_of_disk(self.lab, disk)
        return self.addresses[disk]

    def about(self, disk, check):
        """The one finding of a check about the disk's controller."""
        address = self.address(disk)
        return next(f for f in self.findings if f['check'] == check and f['subject'] == address)


def check_use(matrix, use):
    names = dict(zip('nm', (matrix.name(disk) for disk in use.disks)))
    for disk, pattern in zip(use.disks, use.evidence):
        wanted = pattern.format(**names)
        found = matrix.findings_of(disk)
        if use.disks == ['n2']:     # the controller itself, not its disk
            found = [matrix.about('n2', 'host-disk-use')]
        told = [line for f in found for line in f['evidence']]
        tap.say(f'{disk}: {found[0]["message"] if found else "nothing"}; {told}; {found[0]["remedy"] if found else ""}')
        if not any(re.fullmatch(wanted, line) for line in told):
            raise AssertionError(f'no evidence line is "{wanted}" but {told}')
        tap.equal([f['verdict'] for f in found], ['fail'], 'verdicts')
        tap.judged('host-disk-use', 'fail')
        tap.equal(bool(found[0]['remedy']), True, 'a remedy')


def check_free(matrix, disk, signature):
    tap.equal(matrix.findings_of(disk), [], f'findings about the free disk {disk}')
    if signature:
        data = matrix.about(disk, 'disk-data')
        tap.equal(data['verdict'], 'info', 'disk-data')
        tap.judged('disk-data', 'info')
        told = [line for line in data['evidence'] if re.match(rf'{matrix.name(disk)}\d*: {signature}\b', line)]
        tap.equal(len(told), 1, f'lines about {signature} on {disk} in {data["evidence"]}')


def set_up_all(matrix):
    matrix.lab.run('(setsid zfs-fuse --no-daemon > /tmp/zfs-fuse.log 2>&1 < /dev/null &); '
                   'for i in $(seq 50); do zpool list > /dev/null 2>&1 && exit 0; sleep 0.2; done; exit 1', timeout=60)
    for use in USES:
        with suite.test(f'in use: {use.name}, set up'):
            matrix.set_up(use)
    for disk, (command, _) in FREE.items():
        with suite.test(f'free: {disk}, set up'):
            matrix.run([disk], command or 'true')
    matrix.lab.run('udevadm settle -t 30', timeout=60)


def assign_refused(matrix, disk, *words):
    address = matrix.address(disk)
    status, out, err = installed.ctl(matrix.lab, 'assign', address, GUEST, '--yes')
    tap.equal((status, out), (1, ''), 'exit status and output of assign')
    tap.contains(err, *words)
    tap.equal(installed.driver(matrix.lab, address) != 'vfio-pci', True, 'the host keeps it')


def only_named_disks_are_asked(matrix):
    reads = {disk: matrix.lab.block_stats(disk)['rd_operations'] for disk in ('g1', 'd6')}
    installed.ctl(matrix.lab, 'preflight', matrix.address('g1'))
    grown = {disk: matrix.lab.block_stats(disk)['rd_operations'] - before for disk, before in reads.items()}
    tap.equal(grown['g1'] > 0, True, 'reads of the disk behind the named controller')
    tap.equal(grown['d6'], 0, 'reads of another one')


def main():
    with Lab(name='in-use', topology=topology()) as lab:
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        matrix = Matrix(lab)
        set_up_all(matrix)
        with suite.test('one preflight tells of all'):
            status, out, err = installed.ctl(lab, '--json', 'preflight', timeout=90)
            tap.equal(status, 1, f'exit status of preflight {err}')
            matrix.findings = installed.json.loads(out)['findings']
        for use in USES:
            with suite.test(f'in use: {use.name}, told with its chain'):
                check_use(matrix, use)
        for disk, (_, signature) in FREE.items():
            with suite.test(f'free: {disk}, not flagged{" but told to hold " + signature if signature else ""}'):
                check_free(matrix, disk, signature)
        with suite.test('an idle controller beside them passes'):
            tap.equal(matrix.about(IDLE, 'host-disk-use')['verdict'], 'pass', 'host-disk-use')
            tap.judged('host-disk-use', 'pass')
            verdicts = {f['check']: f['verdict'] for f in matrix.findings if f['subject'] == matrix.address(IDLE)}
            # On a busy machine smartctl may not get through all disks in time, and says so.
            told = {v for check, v in verdicts.items() if check != 'smart-health' or v != 'skip'}
            tap.equal(told <= {'pass', 'info'}, True, f'nothing but pass and info in {verdicts}')
        with suite.test('assign is refused'):
            assign_refused(matrix, 'b1', 'labvg-data', 'deepcrypt')
            assign_refused(matrix, 'c4', 'btrfs labtank', 'bcache0')
            assign_refused(matrix, 'f1', 'qemu-system-x86')
        with suite.test('show draws the chains as a tree'):
            out = installed.must(lab, 'show', matrix.address('b3'))
            tap.say(out)
            tap.contains(out, 'deepcrypt', 'deepvg-data', '/srv/deep')
        with suite.test('only the disks behind the named controller are asked'):
            only_named_disks_are_asked(matrix)
        for use in USES:
            with suite.test(f'in use: {use.name}, works on'):
                matrix.run(use.disks, use.works)
        suite.end()


if __name__ == '__main__':
    main()
