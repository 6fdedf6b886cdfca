# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job, judged from outside: assign, use in the guest, release. `make demo` shows it, `make check` tests it."""
import installed
import l2
import tap

CONTROLLER = '0000:03:00.0'
GUEST = 'freenas'

# What the guest does with each disk: a filesystem, a file of random bytes, and the whole disk's hash at the end.
WORK = ('mke2fs -q -F -t ext4 /dev/{0} && mount -t ext4 /dev/{0} /mnt && '
        'dd if=/dev/urandom of=/mnt/file bs=1M count=4 2>/dev/null && umount /mnt && sync && '
        'echo 3 > /proc/sys/vm/drop_caches && sha256sum < /dev/{0}')


def serials(lab, names=('hba-a', 'hba-b')):
    return {lab.disks[n].serial: n for n in names}


def assign(lab):
    """passthructl assign; afterwards L1 has the controller on vfio-pci and no block device for its disks."""
    out = installed.must(lab, 'assign', CONTROLLER, GUEST, '--yes')
    tap.equal(installed.driver(lab, CONTROLLER), 'vfio-pci', 'driver after assign')
    left = set(serials(lab)) & set(installed.block_serials(lab))
    tap.equal(left, set(), 'disks of the controller that L1 still shows')
    return out


def use_in_guest(lab, show=lambda line: None):
    """Boots L2 with the controller; it fills both disks. {serial: sha256 as L2 saw it}."""
    writes = {serial: lab.block_stats(name)['wr_operations'] for serial, name in serials(lab).items()}
    guest = l2.Guest(lab, GUEST)
    guest.start()
    guest.wait_ready()
    holder = vfio_holder(lab)
    show(f'on the host, {holder} holds the VFIO group of {CONTROLLER}')
    tap.contains(holder, 'qemu-system')
    disks = guest.disks()
    tap.equal(set(disks), set(serials(lab)), 'serial numbers that the guest lists')
    hashes = {}
    for serial, disk in disks.items():
        show(f'the guest sees {disk["name"]}: serial {serial}, {disk["size"]} bytes, driver {disk["driver"]}')
        hashes[serial] = guest.run(WORK.format(disk['name']), timeout=120).out.split()[0]
        show(f'the guest made a filesystem on {disk["name"]} and filled it: sha256 {hashes[serial]}')
    guest.shut_down()
    for serial, name in serials(lab).items():
        written = lab.block_stats(name)['wr_operations'] - writes[serial]
        tap.equal(written > 0, True, f'writes that reached {name}, by the machine that holds the image')
    return hashes


def vfio_holder(lab):
    """The process in L1 that has the controller's /dev/vfio/N open, as "PID NAME"."""
    _, group = lab.run(f'basename $(readlink /sys/bus/pci/devices/{CONTROLLER}/iommu_group)')
    _, out = lab.run(f'for i in $(seq 60); do for p in /proc/[0-9]*; do '
                     f'readlink $p/fd/* 2>/dev/null | grep -qx /dev/vfio/{group.strip()} && '
                     f'echo "${{p#/proc/}} $(cat $p/comm)" && exit; done; sleep 1; done', timeout=120)
    return out.strip()


def release(lab, hashes):
    """passthructl release; afterwards the raw disks in L1, the guest's view and the image files have one hash each."""
    out = installed.must(lab, 'release', CONTROLLER, '--yes')
    tap.equal(installed.driver(lab, CONTROLLER), 'ahci', 'driver after release')
    names = installed.wait_for_serials(lab, serials(lab))
    rows = []
    for serial, disk in serials(lab).items():
        _, host = lab.run(f'sha256sum < /dev/{names[serial]} | cut -d" " -f1')
        rows.append((serial, hashes[serial], host.strip(), lab.sha256(disk)))
    for serial, guest, host, image in rows:
        tap.equal((guest, host), (image, image), f'sha256 of {serial} in the guest and on the host')
    return out, rows
