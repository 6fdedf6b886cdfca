#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows that the lab itself works, without passthru: groups, interrupt remapping, and a controller given to L2 by hand."""
import time

import l2
from lab import Lab
from tap import Tap, equal

HBA = '0000:03:00.0'
GROUPS = [{HBA}, {'0000:01:00.0'}, {'0000:02:00.0'}, {'0000:04:00.0'},
          {'0000:05:00.0', '0000:06:01.0', '0000:06:02.0'},
          {'0000:00:09.0', '0000:00:09.1', '0000:07:00.0', '0000:08:00.0'},
          {'0000:00:1f.0', '0000:00:1f.2', '0000:00:1f.3'}]


def groups(lab):
    listing = lab.run('cd /sys/kernel/iommu_groups && for g in *; do echo $(ls $g/devices); done').out
    return [set(line.split()) for line in listing.splitlines()]


def bind_to_vfio(lab, address):
    lab.run(f'modprobe vfio-pci && cd /sys/bus/pci/devices/{address} && echo vfio-pci > driver_override && '
            f'echo {address} > driver/unbind && echo {address} > /sys/bus/pci/drivers_probe')
    equal(lab.run(f'basename $(readlink /sys/bus/pci/devices/{address}/driver)').out.strip(), 'vfio-pci', 'driver')


def write_in_guest(guest, disk):
    """An ext4 file system with a file on the disk, unmounted; returns the hash of the whole disk as L2 reads it."""
    guest.run(f'mke2fs -q -F -t ext4 {disk} && mount -t ext4 {disk} /mnt', timeout=60)
    guest.run('dd if=/dev/urandom of=/mnt/file bs=1M count=16 2> /dev/null && sha256sum /mnt/file', timeout=60)
    return guest.run(f'umount /mnt && sync && blockdev --flushbufs {disk} && sha256sum {disk}', timeout=60).out.split()[0]


def hand_over(tap, lab):
    guest = l2.define_guest(lab)
    bind_to_vfio(lab, HBA)
    lab.write('/tmp/hostdev.xml', l2.hostdev(HBA))
    lab.run('virsh attach-device freenas /tmp/hostdev.xml --config')
    before = lab.sha256('hba-a')
    begin = time.monotonic()
    guest.start()
    tap.note(f'virsh start returned after {time.monotonic() - begin:.0f} s')
    guest.wait_ready(180)
    tap.note(f'L2 ready {time.monotonic() - begin:.0f} s after virsh start began')
    seen = guest.disks()
    equal(set(seen), {lab.disks['hba-a'].serial, lab.disks['hba-b'].serial}, 'serials in L2')
    hashes = {}
    for name in ('hba-a', 'hba-b'):
        hashes[name] = write_in_guest(guest, '/dev/' + seen[lab.disks[name].serial]['name'])
    guest.shut_down()
    for name, digest in hashes.items():
        equal(lab.sha256(name), digest, f'hash of {name}')
    assert before != hashes['hba-a'] and lab.block_stats('hba-a')['wr_operations'] > 0


def main():
    tap = Tap()
    with Lab(name='smoke') as lab:
        with tap.test('the emulated host runs commands'):
            equal(lab.run('echo hello').out, 'hello\n')
            equal(lab.run('echo out; echo err >&2; exit 3', check=False), (3, 'out\n'))
        tap.note(f'first command {time.monotonic() - lab.machine.begin:.0f} s after power-on')
        with tap.test('the boot comes to its end and no unit failed'):
            lab.wait_host()
            tap.note(f'libvirt answered {time.monotonic() - lab.machine.begin:.0f} s after power-on')
            equal(lab.run('systemctl --failed --plain --no-legend').out, '', 'failed units')
        with tap.test('the kernel makes the groups that the topology is for'):
            seen = groups(lab)
            for group in GROUPS:
                assert group in seen, f'{sorted(group)} is no group; there are: {[sorted(g) for g in seen]}'
        with tap.test('interrupts are remapped'):
            assert 'IR-' in lab.read('/proc/interrupts')
        with tap.test('every disk of the topology shows its serial'):
            serials = set(lab.run('lsblk -dno SERIAL').out.split())
            equal({disk.serial for disk in lab.disks.values()} - serials, set(), 'serials not seen')
        with tap.test('a guest writes to the disks of a controller that was handed over'):
            hand_over(tap, lab)
    tap.end()


if __name__ == '__main__':
    main()
