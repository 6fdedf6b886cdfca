#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Controllers plugged into and unplugged from a running guest, and everything that stands against it."""
import time

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, 'nas'


def names_in(guest, serials):
    """{serial: node} as the guest's kernel has them now."""
    disks = guest.disks(fresh=True)
    tap.equal(set(serials) - set(disks), set(), 'serial numbers that the guest does not show')
    return {serial: '/dev/' + disks[serial]['name'] for serial in serials}


def wait_for_disks(lab, guest, serials):
    guest.run('for i in $(seq 40); do [ "$(disks | grep -c -e ' + ' -e '.join(serials) + f')" = {len(serials)} ] && break; '
              'sleep 0.5; done; /usr/bin/udevadm settle', timeout=60)
    return names_in(guest, serials)


def state_of(lab, address):
    return next(row['state'] for row in installed.ctl_json(lab, 'list') if row['address'] == address)


def plug(lab, guest):
    installed.must(lab, 'assign', HBA, guest.name, '--yes')
    tap.equal(state_of(lab, HBA), 'running', 'state')
    return wait_for_disks(lab, guest, mainjob.serials(lab))


def gone_from(guest, serials):
    tap.equal(set(serials) & set(guest.disks(fresh=True)), set(), 'disks that the guest still shows')


def back_on_host(lab):
    tap.equal(installed.driver(lab, HBA), 'ahci', 'driver')
    return installed.wait_for_serials(lab, mainjob.serials(lab))


@suite.case
def plugged_and_unplugged(lab):
    """plugged into a running guest, used, refused while mounted, unplugged when unmounted; nothing lost"""
    before = installed.snapshot(lab)
    guest = l2.Guest(lab, GUEST)
    nodes = plug(lab, guest)
    serial, other = sorted(nodes)
    guest.run(f'mke2fs -q -F -t ext4 {nodes[serial]} && mount -t ext4 {nodes[serial]} /mnt && '
              'dd if=/dev/urandom of=/mnt/file bs=1M count=4 2>/dev/null', timeout=60)
    status, out, err = installed.ctl(lab, 'release', HBA, '--yes')
    tap.say(err)
    tap.equal((status, out), (1, ''), 'release while mounted')
    tap.contains(err, serial, '/mnt', GUEST, '--force-unplug')
    guest.run('sha256sum /mnt/file && echo more > /mnt/more && sync')
    digest = guest.run(f'umount /mnt && sync && echo 3 > /proc/sys/vm/drop_caches && sha256sum < {nodes[serial]}').out.split()[0]
    installed.must(lab, 'release', HBA, '--yes')
    gone_from(guest, nodes)
    names = back_on_host(lab)
    _, host = lab.run(f'sha256sum < /dev/{names[serial]} | cut -d" " -f1')
    tap.equal((host.strip(), lab.sha256(mainjob.serials(lab)[serial])), (digest, digest), 'sha256 on the host and of the image')
    changed = [line for line in installed.differences(lab, before).splitlines() if f'[disks][{serial}]' not in line]
    tap.equal(changed, [], 'what the judge finds changed beside the new filesystem')


@suite.case
def forced(lab):
    """--force-unplug takes it although a filesystem is mounted; the guest goes on"""
    guest = l2.Guest(lab, GUEST)
    nodes = plug(lab, guest)
    node = nodes[sorted(nodes)[0]]
    guest.run(f'mke2fs -q -F -t ext4 {node} && mount -t ext4 {node} /mnt && sync', timeout=60)
    installed.must(lab, 'release', HBA, '--force-unplug', '--yes')
    back_on_host(lab)
    tap.equal(guest.run('umount -l /mnt; echo still here').out.strip().splitlines()[-1], 'still here', 'the guest')
    lab.run(f'for d in {" ".join(installed.wait_for_serials(lab, mainjob.serials(lab)).values())}; do wipefs -qa /dev/$d; done')


@suite.case
def paused(lab):
    """a paused guest neither gets a controller nor is asked for one"""
    guest = l2.Guest(lab, GUEST)
    lab.run(f'virsh suspend {GUEST}')
    installed.refused(lab, ['assign', HBA, GUEST, '--yes'], GUEST, 'paused', 'virsh resume')
    lab.run(f'virsh resume {GUEST}')
    plug(lab, guest)
    lab.run(f'virsh suspend {GUEST}')
    installed.refused(lab, ['release', HBA, '--yes'], GUEST, 'paused', HBA)
    lab.run(f'virsh resume {GUEST}')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.case
def one_of_a_group(lab):
    """one controller of a group leaves the running guest and stays reserved; the other goes on; both go back together"""
    guest = l2.Guest(lab, GUEST)
    one, two = (installed.address_of_disk(lab, d) for d in ('twin1-a', 'twin2-a'))
    serials = [lab.disks[d].serial for d in ('twin1-a', 'twin2-a')]
    installed.must(lab, 'assign', one, two, GUEST, '--yes')
    wait_for_disks(lab, guest, serials)
    out = installed.must(lab, 'release', one, '--yes')
    tap.contains(out, 'stays reserved')
    gone_from(guest, serials[:1])
    tap.equal((state_of(lab, one), state_of(lab, two)), ('reserved', 'running'), 'states')
    guest.run(f'sha256sum < {names_in(guest, serials[1:])[serials[1]]}', timeout=60)
    installed.must(lab, 'release', one, two, '--yes')
    installed.wait_for_serials(lab, serials)
    tap.equal([installed.driver(lab, a) for a in (one, two)], ['ahci', 'ahci'], 'drivers')


@suite.case
def held_by_a_process(lab):
    """a reserved group that a process holds is not unbound; the process is named"""
    guest = l2.Guest(lab, GUEST)
    installed.must(lab, 'assign', HBA, GUEST, '--no-attach', '--yes')
    lab.run(f'group=$(basename $(readlink /sys/bus/pci/devices/{HBA}/iommu_group)); '
            '(setsid sleep 611 3<>/dev/vfio/$group > /dev/null 2>&1 < /dev/null &)')
    try:
        before = installed.snapshot(lab, 'reserved')
        status, out, err = installed.ctl(lab, 'release', HBA, '--yes')
        tap.say(err)
        tap.equal((status, out), (1, ''), 'release')
        tap.contains(err, HBA, 'sleep')
        installed.same(lab, before)
    finally:
        lab.run('pkill -x -f "sleep 611"')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.case
def foreign(lab):
    """a foreign driver override or vfio binding is refused and left as it is"""
    device = f'/sys/bus/pci/devices/{HBA}'
    lab.run(f'echo pci-stub > {device}/driver_override')
    installed.refused(lab, ['assign', HBA, GUEST, '--yes'], HBA, 'pci-stub', 'driverctl')
    lab.run(f'echo > {device}/driver_override; modprobe vfio-pci; echo vfio-pci > {device}/driver_override; '
            f'echo {HBA} > {device}/driver/unbind; echo {HBA} > /sys/bus/pci/drivers_probe')
    tap.equal(state_of(lab, HBA), 'foreign', 'state')
    installed.refused(lab, ['assign', HBA, GUEST, '--yes'], HBA, 'vfio-pci', 'passthru did not')
    installed.refused(lab, ['release', HBA, '--yes'], HBA, 'not assigned')
    lab.run(f'echo > {device}/driver_override; echo {HBA} > {device}/driver/unbind; echo {HBA} > /sys/bus/pci/drivers_probe')
    back_on_host(lab)


@suite.case
def owned_by_another_tool(lab):
    """a guest whose definition another tool keeps is refused; the tool is named"""
    lab.run(f"""virsh dumpxml --inactive --security-info {GUEST} > /tmp/owned.xml
sed -i 's|<name>.*</name>|<name>owned</name>|; /<uuid>/d; s|<devices>|<metadata><kubevirt xmlns="http://kubevirt.io"/></metadata><devices>|' \
        /tmp/owned.xml
virsh define /tmp/owned.xml""")
    try:
        installed.refused(lab, ['assign', HBA, 'owned', '--yes'], 'owned', 'KubeVirt')
    finally:
        lab.run('virsh undefine owned')


@suite.case
def libvirt_stopped(lab):
    """while libvirt does not answer nothing is assigned or released, and afterwards it is"""
    guest = l2.Guest(lab, GUEST)
    plug(lab, guest)
    lab.run('systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service', timeout=60)
    try:
        for arguments in (['release', HBA, '--yes'], ['assign', '0000:02:00.0', GUEST, '--yes']):
            status, out, err = installed.ctl(lab, *arguments)
            tap.say(err)
            tap.equal((status, out), (1, ''), f'status of {arguments}')
            tap.contains(err, 'libvirt')
    finally:
        lab.run('systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service', timeout=60)
    lab.wait_for('virsh list')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.case
def ignored(lab):
    """a guest that ignores the unplug is named after the deadline, still has the controller, and it still works"""
    guest = l2.define_guest(lab, 'deaf', stay=True, agent=True, kernel='acpiphp.disable=1 pcie_ports=compat')
    installed.must(lab, 'assign', HBA, 'deaf', '--yes')
    guest.start()
    guest.wait_ready()
    serials = mainjob.serials(lab)
    nodes = names_in(guest, serials)
    client = lab.spawn(['passthructl', 'release', HBA, '--yes'])
    lab.wait_for('tail -1 /var/lib/passthru/journal | grep -q \'"start".*"step":0\'', 60)
    time.sleep(4)
    lab.run('pkill -INT -x passthructl')
    result = client.wait(60)
    tap.say(result.err)
    tap.equal(result.rc, 1, 'status of a cancelled release')
    tap.contains(result.err, 'cancelled')
    tap.equal(state_of(lab, HBA), 'running', 'state after the cancellation')
    node = sorted(nodes.values())[0]
    guest.run(f'mke2fs -q -F -t ext4 {node}', timeout=60)
    client = lab.spawn(['passthructl', 'release', HBA, '--yes'])
    lab.wait_for('tail -1 /var/lib/passthru/journal | grep -q \'"start".*"step":0\'', 60)
    guest.run(f'mount -t ext4 {node} /mnt')
    result = client.wait(120)
    tap.say(result.err)
    tap.equal(result.rc, 1, 'status of a release while the guest mounts a disk')
    tap.contains(result.err, '/mnt', '--force-unplug')
    guest.run('umount /mnt && sync')
    status, out, err = installed.ctl(lab, 'release', HBA, '--yes', timeout=200)
    tap.say(err)
    tap.equal((status, out), (1, ''), 'release')
    tap.contains(err, 'deaf', HBA, '60 seconds')
    tap.equal(state_of(lab, HBA), 'running', 'state')
    for serial, node in nodes.items():
        digest = guest.run(f'echo 3 > /proc/sys/vm/drop_caches; sha256sum < {node}', timeout=60).out.split()[0]
        tap.equal(digest, lab.sha256(serials[serial]), f'sha256 of {serial} in the guest')
    guest.destroy()
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.full_case
def without_agent(lab):
    """a guest without an agent keeps its controller unless forced"""
    guest = l2.define_guest(lab, 'mute', stay=True)
    guest.start()
    guest.wait_ready()
    installed.must(lab, 'assign', HBA, 'mute', '--yes')
    installed.refused(lab, ['release', HBA, '--yes'], 'mute', 'agent', '--force-unplug')
    installed.must(lab, 'release', HBA, '--force-unplug', '--yes')
    back_on_host(lab)
    guest.destroy()


def main():
    with Lab(name='hotplug', topology='default', memory=4096) as lab:
        installed.install(lab)
        guest = l2.define_guest(lab, GUEST, stay=True, agent=True)
        guest.start()
        guest.wait_ready()
        suite.run(lab)


if __name__ == '__main__':
    main()
