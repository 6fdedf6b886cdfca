#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A hung kernel, clients that race or die, full and read-only file systems, damaged files, a clock set back."""
import time

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST, OTHER = mainjob.CONTROLLER, mainjob.GUEST, '0000:02:00.0'
JOURNAL = '/var/lib/passthru/journal'

# Opens the controller through VFIO and keeps it, whatever the kernel asks.
HOLDER = r'''
import fcntl, os, signal, sys, time
VFIO_TYPE1v2_IOMMU, BASE = 3, 15204
def ioctl(fd, number, argument):
    return fcntl.ioctl(fd, BASE + number, argument)
address, group = sys.argv[1], sys.argv[2]
container, group = os.open('/dev/vfio/vfio', os.O_RDWR), os.open('/dev/vfio/' + group, os.O_RDWR)
ioctl(group, 4, container.to_bytes(4, 'little'))
ioctl(container, 2, VFIO_TYPE1v2_IOMMU)
device = ioctl(group, 6, bytearray(address.encode() + b'\0'))
print('held', flush=True)
time.sleep(600)
'''


def ready(lab):
    """Nothing is under way any more."""
    lab.wait_for('busctl get-property org.passthru1 /org/passthru1 org.passthru1.Manager State | grep -q ready', 120)


def back_on_host(lab):
    tap.equal(installed.driver(lab, HBA), 'ahci', 'driver')
    return installed.wait_for_serials(lab, mainjob.serials(lab))


def fails(lab, arguments, *words):
    """The command fails with these words, and what was begun is undone."""
    before = installed.snapshot(lab, 'fails')
    status, out, err = installed.ctl(lab, *arguments)
    tap.say(err)
    tap.equal((status, out), (1, ''), f'status of {arguments}')
    tap.contains(err, *words)
    return before


@suite.case
def hung_unbind(lab):
    """an unbind that blocks in the kernel: others are answered, the hang is told, the next daemon waits, and it ends well"""
    before = installed.snapshot(lab)
    installed.must(lab, 'assign', HBA, GUEST, '--no-attach', '--yes')
    group = lab.run(f'basename $(readlink /sys/bus/pci/devices/{HBA}/iommu_group)').out.strip()
    lab.write('/tmp/holder.py', HOLDER)
    # The unbind is held up on its way into the kernel, so that the holder comes after passthru's last look at the group.
    lab.run('(setsid strace -f -o /tmp/hang.trace -P /sys/bus/pci/drivers/vfio-pci/unbind -e trace=write '
            '-e inject=write:delay_enter=20000000 -p $(systemctl show -P MainPID passthrud) > /dev/null 2>&1 &); sleep 2')
    client = lab.spawn(f'passthructl release {HBA} --yes')
    # Stopped in write(2), system call 1, ten times in a row: that is the held-up one.
    lab.wait_for('for i in $(seq 10); do grep -q "^1 " /proc/$(pgrep -f "^passthrud --worker apply")/syscall || exit 1; sleep 0.1; done', 60)
    holder = lab.spawn(['python3', '/tmp/holder.py', HBA, group])
    holder.wait_output('held', 20)
    lab.run('pkill -KILL strace; sleep 2', check=False)
    state = lab.run('cat /proc/$(pgrep -f "^passthrud --worker apply")/stat | cut -d" " -f3').out.strip()
    tap.equal(state, 'D', 'state of the worker')
    for verb in ('list', 'status'):
        begin = time.monotonic()
        out = lab.run(['passthructl', verb], check=False).out
        took = time.monotonic() - begin
        tap.say(f'{verb} answered after {took:.1f} s')
        tap.equal(took < 5, True, f'{verb} answered in time')
        tap.contains(out, 'busy')
    status, _, err = installed.ctl(lab, 'assign', OTHER, GUEST, '--yes')
    tap.say(err)
    tap.equal(status, 1, 'another change meanwhile')
    tap.contains(err, 'under way')
    result = client.wait(200)
    tap.say(result.err)
    tap.equal(result.rc, 1, 'status of the client whose job hangs')
    tap.contains(result.err, HBA, 'unbind')
    pid = lab.run('pgrep -f "^passthrud --worker apply"').out.strip()
    lab.run('systemctl restart passthrud', timeout=60)
    told = lab.run('systemctl status passthrud', check=False).out
    tap.contains(told, 'recovering', pid)
    status, _, err = installed.ctl(lab, 'assign', OTHER, GUEST, '--yes')
    tap.equal(status, 1, 'a change while the recovery waits')
    tap.contains(err, 'still being finished or undone', pid)
    holder.kill()
    ready(lab)
    back_on_host(lab)
    installed.same(lab, before)


@suite.case
def two_clients(lab):
    """two clients at once: on the same controller one is told, on different ones both come right in the end"""
    for first, second in ((HBA, HBA), (HBA, OTHER)):
        before = installed.snapshot(lab)
        jobs = [lab.spawn(['passthructl', 'assign', a, GUEST, '--yes']) for a in (first, second)]
        results = [job.wait(120) for job in jobs]
        tap.say('; '.join(f'{r.rc} {r.err.strip()}' for r in results))
        tap.equal(sorted(r.rc for r in results)[0], 0, 'status of the first of two')
        for result in results:
            if result.rc:
                tap.equal(any(word in result.err for word in ('under way', 'already', 'changed')), True, result.err)
        for address in {first, second}:
            if installed.driver(lab, address) == 'vfio-pci':
                installed.must(lab, 'release', address, '--yes')
        back_on_host(lab)
        installed.wait_for_serials(lab, [lab.disks['keep-a'].serial])
        installed.same(lab, before)


@suite.case
def killed_client(lab):
    """a client that is killed while its job runs: the job is finished all the same"""
    before = installed.snapshot(lab)
    lab.run(f'(setsid passthructl assign {HBA} {GUEST} --yes > /dev/null 2>&1 & echo $! > /tmp/client); '
            'for i in $(seq 200); do pgrep -f "^passthrud --worker apply" > /dev/null && break; sleep 0.05; done; '
            'kill -KILL $(cat /tmp/client)')
    lab.wait_for('! pgrep -f "^passthrud --worker apply" > /dev/null', 60)
    tap.equal(installed.driver(lab, HBA), 'vfio-pci', 'driver')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)
    installed.same(lab, before)


@suite.case
def full_store(lab):
    """a full /etc: the assignment is undone and the reason told"""
    lab.run('mkdir -p /etc/passthru && mount -t tmpfs -o size=16k,nr_inodes=8 tmpfs /etc/passthru; '
            'dd if=/dev/zero of=/etc/passthru/fill bs=4k count=99 2> /dev/null; true')
    try:
        before = fails(lab, ['assign', HBA, GUEST, '--yes'], '/etc/passthru', 'No space left', 'undone')
        back_on_host(lab)
        installed.same(lab, before)
    finally:
        lab.run('umount /etc/passthru && rmdir /etc/passthru')


@suite.case
def read_only_store(lab):
    """a read-only /etc: the assignment is undone and the reason told"""
    lab.run('mount --bind /etc /etc && mount -o remount,ro,bind /etc')
    try:
        before = fails(lab, ['assign', HBA, GUEST, '--yes'], '/etc/passthru', 'Read-only', 'undone')
        back_on_host(lab)
        installed.same(lab, before)
    finally:
        lab.run('umount /etc')


@suite.case
def full_journal(lab):
    """a full /var/lib: nothing is begun, and the reason told"""
    lab.run('systemctl stop passthrud; mv /var/lib/passthru /var/lib/passthru.kept; mkdir -m 700 /var/lib/passthru; '
            'mount -t tmpfs -o size=16k,mode=700 tmpfs /var/lib/passthru; systemctl start passthrud; '
            'dd if=/dev/zero of=/var/lib/passthru/fill bs=4k count=99 2> /dev/null; true', timeout=60)
    try:
        before = fails(lab, ['assign', HBA, GUEST, '--yes'], JOURNAL, 'No space left')
        tap.equal(installed.driver(lab, HBA), 'ahci', 'driver')
        installed.same(lab, before)
    finally:
        lab.run('systemctl stop passthrud; umount /var/lib/passthru; rmdir /var/lib/passthru; '
                'mv /var/lib/passthru.kept /var/lib/passthru; systemctl start passthrud', timeout=60)


@suite.case
def damaged_journal(lab):
    """a journal with a bad line stops changes and is left alone; a torn last line is dropped"""
    lab.run(f'cp {JOURNAL} /tmp/journal; (echo "not json"; tail -1 /tmp/journal) >> {JOURNAL}; systemctl restart passthrud')
    try:
        fails(lab, ['assign', HBA, GUEST, '--yes'], JOURNAL)
        tap.equal(installed.driver(lab, HBA), 'ahci', 'driver')
        lab.run(f'grep -q "not json" {JOURNAL}')
    finally:
        lab.run(f'cp /tmp/journal {JOURNAL}; systemctl restart passthrud')
    lab.run(f"printf '{{\"type\":\"begin\",\"tx\"' >> {JOURNAL}; systemctl restart passthrud")
    installed.must(lab, 'assign', HBA, GUEST, '--yes')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.case
def truncated_assignment(lab):
    """an assignment file cut short is named; nothing is lost by it once it is whole again"""
    installed.must(lab, 'assign', HBA, GUEST, '--yes')
    file = f'/etc/passthru/assignments.d/{HBA}.json'
    lab.run(f'cp {file} /tmp/assignment; truncate -s 40 {file}')
    try:
        for arguments in (['release', HBA, '--yes'], ['assign', OTHER, GUEST, '--yes'], ['status']):
            fails(lab, arguments, file)
        tap.equal(installed.driver(lab, HBA), 'vfio-pci', 'driver')
    finally:
        lab.run(f'cp /tmp/assignment {file}')
    installed.must(lab, 'release', HBA, '--yes')
    back_on_host(lab)


@suite.case
def clock_set_back(lab):
    """with the clock set back a day between them, assign and release work"""
    installed.must(lab, 'assign', HBA, GUEST, '--yes')
    lab.run('date -s "1 day ago"')
    try:
        installed.must(lab, 'release', HBA, '--yes')
    finally:
        lab.run('date -s "1 day"')
    back_on_host(lab)


def main():
    with Lab(name='trouble', topology='default') as lab:
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        suite.run(lab)


if __name__ == '__main__':
    main()
