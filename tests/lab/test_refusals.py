#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What assign must refuse, each with object, reason and remedy, each leaving the host as it was; and groups."""
import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST


def in_use(lab, prepare, cleanup, *words):
    """With the disk in use as prepared, assign is refused, and the use goes on working (checked by cleanup's success)."""
    lab.run(prepare, timeout=60)
    try:
        installed.refused(lab, ['assign', HBA, GUEST, '--yes'], *words)
    finally:
        lab.run(cleanup, timeout=60)


@suite.case
def mounted_disk(lab):
    """refused: a mounted disk"""
    disk = installed.node_of_disk(lab, 'hba-a')
    in_use(lab, f'mke2fs -q -F -t ext4 {disk} && mkdir -p /srv/pool && mount {disk} /srv/pool && echo x > /srv/pool/file',
           'sync; grep -qx x /srv/pool/file && umount /srv/pool && rmdir /srv/pool', disk[5:], '/srv/pool', 'umount')


@suite.case
def mounted_elsewhere(lab):
    """refused: a disk mounted only in another mount namespace"""
    disk = installed.node_of_disk(lab, 'hba-b')
    in_use(lab, f'mke2fs -q -F -t ext4 {disk} && mkdir -p /srv/hidden && '
                f'(setsid unshare -m sh -c "mount {disk} /srv/hidden && echo ready > /run/hidden && exec sleep 600" '
                '> /dev/null 2>&1 < /dev/null & echo $! > /run/hidden.pid); '
                'for i in $(seq 50); do [ -e /run/hidden ] && break; sleep 0.2; done; '
                f'[ -e /run/hidden ] && ! grep -q {disk} /proc/self/mountinfo',
           'pkill -x -f "sleep 600"; rm -f /run/hidden /run/hidden.pid; sleep 1; rmdir /srv/hidden', disk[5:], '/srv/hidden')


@suite.case
def swap(lab):
    """refused: swap"""
    disk = installed.node_of_disk(lab, 'hba-a')
    in_use(lab, f'mkswap -q {disk} && swapon {disk}', f'grep -q ^{disk} /proc/swaps && swapoff {disk}', disk[5:], 'swap')


@suite.case
def mapped(lab):
    """refused: a device-mapper holder"""
    disk = installed.node_of_disk(lab, 'hba-b')
    in_use(lab, f'echo "0 2048 linear {disk} 0" | dmsetup create labmap',
           'dmsetup status labmap && dmsetup remove labmap', disk[5:], 'dm')


@suite.case
def opened(lab):
    """refused: a disk that a process has open, at the last moment whatever the process is called"""
    disk = installed.node_of_disk(lab, 'hba-a')
    # The plan takes it for one of udev's workers, which have a disk open for a moment only.
    in_use(lab, f'cp /bin/sleep "/tmp/(udev-worker)" && (setsid "/tmp/(udev-worker)" 601 3<>{disk} > /dev/null 2>&1 < /dev/null & '
                'echo $! > /run/opened.pid); sleep 1', 'kill $(cat /run/opened.pid); rm "/tmp/(udev-worker)"', disk[5:],
           'is open by (udev-worker)')


@suite.case
def held(lab):
    """while the controller leaves the host's driver nobody can mount its disks"""
    disk = installed.node_of_disk(lab, 'hba-a')
    lab.run(f'mke2fs -q -F -t ext4 {disk} && mkdir -p /srv/late')
    # The unbind is held up on its way into the kernel, from outside.
    lab.run('(setsid strace -f -o /tmp/held.trace -P /sys/bus/pci/drivers/ahci/unbind -e trace=write '
            '-e inject=write:delay_enter=10000000 -p $(systemctl show -P MainPID passthrud) > /dev/null 2>&1 &); sleep 2')
    client = lab.spawn(['passthructl', 'assign', HBA, GUEST, '--yes'])
    lab.wait_for('grep -q \'"start".*"step":4}\' /var/lib/passthru/journal', 60)
    result = lab.run(f'mount {disk} /srv/late', check=False)
    tap.say(result.err)
    tap.equal(result.rc != 0, True, 'mount while the disks are held failed')
    tap.contains(result.err, 'busy')
    tap.equal(client.wait(60).rc, 0, 'status of assign')
    lab.run('pkill -KILL strace; rmdir /srv/late', check=False)
    installed.must(lab, 'release', HBA, '--yes')
    lab.run(f'wipefs -qa /dev/{installed.wait_for_serials(lab, mainjob.serials(lab))[lab.disks["hba-a"].serial]}')


@suite.case
def stale_plan(lab):
    """a plan other than the one that was shown is not carried out"""
    before = installed.snapshot(lab)
    script = """import json, subprocess, sys
call = ['busctl', '--json=short', 'call', 'org.passthru1', '/org/passthru1', 'org.passthru1.Manager', 'Assign', 'assasbs',
        '1', sys.argv[1], sys.argv[2], '0', 'false', '0123456789abcdef']
watch = subprocess.Popen(['busctl', '--json=short', 'monitor', 'org.passthru1'], stdout=subprocess.PIPE, text=True)
import time; time.sleep(2)
job = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)['data'][0]
for line in watch.stdout:
    message = json.loads(line)
    if message.get('member') == 'JobRemoved' and message['payload']['data'][1] == job:
        print(message['payload']['data'][2])
        break
watch.kill()
"""
    lab.write('/tmp/stale.py', script)
    out = lab.run(['python3', '/tmp/stale.py', HBA, GUEST], timeout=60).out
    tap.say(out)
    tap.contains(out, '"failed"', 'changed since the plan was shown')
    installed.same(lab, before)


@suite.case
def onboard(lab):
    """refused: 00:1f.2, whose group holds the LPC bridge and the SMBus"""
    installed.refused(lab, ['assign', '0000:00:1f.2', GUEST, '--yes'], '0000:00:1f.0', '0000:00:1f.3')


@suite.case
def behind_a_bridge(lab):
    """refused: one of two controllers behind a PCI bridge"""
    one, two = (installed.address_of_disk(lab, d) for d in ('conv1-a', 'conv2-a'))
    installed.refused(lab, ['assign', one, GUEST, '--yes'], one, two)


@suite.case
def root_disk(lab):
    """refused: the controller of the root disk"""
    address = installed.root_controller(lab)
    installed.refused(lab, ['assign', address, GUEST, '--yes'], address, '/')


@suite.case
def bad_addresses(lab):
    """refused: malformed, absent, NIC and bridge addresses"""
    nic, bridge = installed.addresses_of_class(lab, '0200')[0], installed.addresses_of_class(lab, '0604')[0]
    for text in ('03:00', '0000:03:00.8', '0000:03:00.0;reboot', ''):
        installed.refused(lab, ['assign', text, GUEST, '--yes'], status=2)
    installed.refused(lab, ['assign', '0000:7f:00.0', GUEST, '--yes'], '0000:7f:00.0', 'passthructl list')
    installed.refused(lab, ['assign', nic, GUEST, '--yes'], nic, 'storage controller')
    installed.refused(lab, ['assign', bridge, GUEST, '--yes'], bridge, 'storage controller')
    installed.refused(lab, ['assign', HBA, 'nosuchguest', '--yes'], 'nosuchguest', GUEST)


@suite.case
def others_controller(lab):
    """refused: a controller that another guest has"""
    l2.define_guest(lab, 'other', stay=True)
    lab.write('/tmp/hostdev.xml', l2.hostdev(HBA))
    lab.run('virsh attach-device other /tmp/hostdev.xml --config')
    try:
        installed.refused(lab, ['assign', HBA, GUEST, '--yes'], HBA, 'other')
    finally:
        lab.run('virsh undefine other')


@suite.case
def group_of_two(lab):
    """two controllers of one group are assigned together; one alone is refused"""
    one, two = (installed.address_of_disk(lab, d) for d in ('twin1-a', 'twin2-a'))
    before = installed.snapshot(lab, 'group')
    installed.refused(lab, ['assign', one, GUEST, '--yes'], two)
    installed.must(lab, 'assign', one, two, GUEST, '--yes')
    tap.equal([installed.driver(lab, a) for a in (one, two)], ['vfio-pci'] * 2, 'drivers')
    _, xml = lab.run(f'virsh dumpxml --inactive {GUEST} | grep -c "ua-passthru-"')
    tap.equal(xml.strip(), '2', 'host devices in the guest')
    installed.must(lab, 'release', one, two, '--yes')
    installed.wait_for_serials(lab, [lab.disks[d].serial for d in ('twin1-a', 'twin2-a')])
    installed.same(lab, before)


def main():
    with Lab(name='refusals', topology='default') as lab:
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        suite.run(lab)


if __name__ == '__main__':
    main()
