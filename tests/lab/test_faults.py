#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every write, open, rename, unlink, sync and libvirt send of one assign and one release fails, or is the last thing that the
process does: of the worker, and of the daemon meanwhile. strace makes it so from outside; the programs are built with
AddressSanitizer. Afterwards the host equals before or after.

strace looks at all system calls of a process that it attaches to, but can look only at those asked for of one that it starts. That
takes half the time, but no signal can be given from such a stop (ptrace(2), PTRACE_EVENT stops). So a worker is started by it: the
installed program gets a mark into the padding of its ELF header, and once the daemon runs, binfmt_misc has programs with that mark
started by a script (WRAPPER), which runs an unmarked copy. A daemon that died is started anew without that.

usage: test_faults.py [N/M]: all points, or every Mth of them from the Nth on, for M emulated hosts side by side."""
import collections
import json
import re
import sys
import traceback

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST
CALLS = {
    # what fails: the error it fails with; libvirt and D-Bus are sent to by sendmsg and write
    'write': 'EIO', 'pwrite64': 'ENOSPC', 'fsync': 'EIO', 'openat': 'EMFILE', 'openat2': 'EMFILE', 'renameat': 'ENOSPC',
    'unlinkat': 'EROFS', 'mkdirat': 'ENOSPC', 'ftruncate': 'EIO', 'sendmsg': 'EPIPE', 'sendto': 'EPIPE',
}
IN_CHECK = {'worker': ('pwrite64', 'fsync', 'sendmsg'), 'daemon': ('sendmsg',)}  # make check strikes these only, each once
# How many of the calls of one kind are struck: opens are mostly of sysfs files that are read again and again.
POINTS = {'openat': 40, 'openat2': 20} if tap.FULL else {}
DEFAULT_POINTS = 1000 if tap.FULL else 1
# What changes the host or the journal is struck both ways; of the rest every other call fails and every other is the last one.
BOTH_WAYS = ('pwrite64', 'fsync', 'renameat', 'unlinkat', 'mkdirat', 'sendmsg', 'sendto')
# How often these are called differs from run to run, so the last of them may not come.
UNSTEADY = ('openat', 'openat2')
# Only for the worker, and only where no signal is sent.
FAST = ['--seccomp-bpf']

CALLER = r'''
import json, os, select, subprocess, sys, threading, time
daemon, method, digest, controller, guest = sys.argv[1:]
arguments = {'Assign': ['assasbs', '1', controller, guest, '0', 'false', digest],
             'Release': ['assbs', '1', controller, '', 'false', digest]}[method]
watch = subprocess.Popen(['timeout', '100', 'busctl', '--json=short', 'monitor', 'org.passthru1'], stdout=subprocess.PIPE, text=True)
def end_with_daemon():
    while os.path.exists(f'/proc/{daemon}'):
        time.sleep(0.5)
    watch.kill()
threading.Thread(target=end_with_daemon, daemon=True).start()
# It tells of messages only once it listens.
while not select.select([watch.stdout], [], [], 0)[0]:
    subprocess.run(['busctl', 'call', 'org.passthru1', '/', 'org.freedesktop.DBus.Peer', 'Ping'])
call = subprocess.run(['busctl', '--json=short', 'call', 'org.passthru1', '/org/passthru1', 'org.passthru1.Manager', method, *arguments],
                      capture_output=True, text=True)
if call.returncode == 0:
    job = json.loads(call.stdout)['data'][0]
    for line in watch.stdout:
        message = json.loads(line)
        data = message['payload']['data'] if message.get('payload') else []
        if message.get('member') == 'JobRemoved' and data[1] == job:
            print(data[2])
            break
else:
    print(call.stderr)
watch.kill()
'''

FOLDER = '/usr/local/lib/faults'
MARK = 'PASSTHR'  # as many bytes as the padding of an ELF header has, from the ninth on

WRAPPER = f'''#!/bin/sh
shift
if [ "$2" = apply ] && [ -s {FOLDER}/options ]; then
        exec strace -D -f -o /tmp/faults.trace $(cat {FOLDER}/options) {FOLDER}/passthrud "$@"
fi
exec {FOLDER}/passthrud "$@"
'''

PREPARE = f'''
set -e
program=$(systemctl cat passthrud | sed -n 's/^ExecStart=//p')
systemctl stop passthrud
mkdir -p {FOLDER}
cp $program {FOLDER}/passthrud
printf '{MARK}' | dd of=$program bs=1 seek=9 conv=notrunc status=none
chmod +x {FOLDER}/wrapper
modprobe binfmt_misc
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
systemctl start passthrud
echo ':passthrud:M:9:{MARK}::{FOLDER}/wrapper:' > /proc/sys/fs/binfmt_misc/register
'''

RUN = r'''
# usage: run worker|daemon STRACE-OPTIONS -- METHOD DIGEST CONTROLLER GUEST: one call, with strace on one of the two
who=$1; shift
options=; while [ "$1" != -- ]; do options="$options $1"; shift; done; shift
entry=/proc/sys/fs/binfmt_misc/passthrud
if [ $(readlink /proc/$(systemctl show -P MainPID passthrud)/exe) = FOLDER/passthrud ]; then
        echo 0 > $entry
        systemctl restart passthrud
        echo 1 > $entry
fi
main=$(systemctl show -P MainPID passthrud)
rm -f /tmp/faults.trace
if [ $who = daemon ]; then
        setsid strace -o /tmp/faults.trace $options -p $main > /dev/null 2>&1 &
        for i in $(seq 100); do grep -q "TracerPid:.[1-9]" /proc/$main/status && break; sleep 0.1; done
else
        printf '%s\n' "$options" > FOLDER/options
fi
timeout 110 python3 /tmp/caller.py $main "$@"
rm -f FOLDER/options
[ $who = worker ] || pkill -KILL strace
for i in $(seq 120); do
        [ "$(busctl get-property org.passthru1 /org/passthru1 org.passthru1.Manager State 2> /dev/null)" = 's "ready"' ] &&
                ! pgrep -f "passthrud --worker (apply|recover)" > /dev/null && break
        systemctl is-failed -q passthrud && { MARKED; }
        sleep 0.5
done
exit 0
'''.replace('FOLDER', FOLDER).replace('MARKED', 'systemctl reset-failed passthrud; systemctl start passthrud')

VERBS = {'Assign': (['assign', HBA, GUEST], 'before', 'after'), 'Release': (['release', HBA], 'after', 'before')}


def digest(lab, method):
    return installed.ctl_json(lab, *VERBS[method][0], '--dry-run')['digest']


def call(lab, method, who, options):
    """One Assign or Release with strace's options for the worker or the daemon; what the job said."""
    arguments = [method, digest(lab, method), HBA, GUEST]
    return lab.run(['bash', '/tmp/run', who, *options, '--', *arguments], timeout=240).out


def lead(lab, state):
    if state == 'after' and installed.driver(lab, HBA) != 'vfio-pci':
        installed.must(lab, 'assign', HBA, GUEST, '--yes')
    elif state == 'before' and installed.driver(lab, HBA) == 'vfio-pci':
        installed.must(lab, 'release', HBA, '--yes')
    if state == 'before':
        installed.wait_for_serials(lab, mainjob.serials(lab))


def calls_of(lab, method, who):
    """{call: how often the worker or the daemon makes it, in that of its threads that does so most} in one undisturbed run:
    strace counts each thread's own."""
    lead(lab, VERBS[method][1])
    said = call(lab, method, who, [*(FAST if who == 'worker' else []), '-e', 'trace=' + ','.join(CALLS)])
    tap.contains(said, '"state":"done"')
    trace = lab.run('cat /tmp/faults.trace').out
    threads = collections.Counter(re.findall(r'^(?:(\d+) +)?(\w+)\(', trace, re.M))
    counts = collections.Counter()
    for (_, name), count in threads.items():
        counts[name] = max(counts[name], count)
    tap.say(f'{method}: calls of the {who}: ' + ', '.join(f'{name} {count}' for name, count in sorted(counts.items())))
    return counts


def points(name, count):
    limit = min(POINTS.get(name, DEFAULT_POINTS), count)
    return sorted({1 + (2 * i + 1) * count // (2 * limit) for i in range(limit)} - {count + 1})


def ways(name, n):
    """How the Nth call is struck."""
    both = (f'error={CALLS[name]}', 'signal=SIGKILL')
    return both if tap.FULL and name in BOTH_WAYS else both[n % 2:n % 2 + 1]


# Where removing the emptied directories of the assignments is what fails, they stay: they say the same as none.
EMPTY_STORE = re.compile(r'^\[files\]\[/etc/passthru(/assignments\.d)?\] is new: .*\n?', re.M)


def strike(lab, method, who, name, n, how):
    begin, end = VERBS[method][1:]
    fast = FAST if who == 'worker' and how.startswith('error') else []
    said = call(lab, method, who, [*fast, '-e', f'trace={name}', '-e', f'inject={name}:{how}:when={n}'])
    fired = lab.run("grep -qE 'INJECTED|killed by SIGKILL' /tmp/faults.trace", check=False).rc == 0
    if who == 'worker' and name not in UNSTEADY:
        tap.equal(fired, True, f'{how} at {name} {n} of the worker in {method} was made')
    to_begin, to_end = installed.differences_from(lab, begin, end)
    if name == 'unlinkat' and how.startswith('error'):
        to_begin, to_end = (EMPTY_STORE.sub('', text).strip() for text in (to_begin, to_end))
        lab.run('rmdir /etc/passthru/assignments.d /etc/passthru', check=False)
    reports = lab.run('journalctl -b -o cat -u passthrud | grep -c "AddressSanitizer\\|runtime error"', check=False).out.strip()
    tap.equal(reports, '0', f'reports of the sanitizers after {how} at {name} {n} of the {who}')
    if to_begin and to_end:
        raise AssertionError(f'{how} at {name} {n} of the {who} in {method}: neither before nor after.\n{said}\nagainst {begin}:\n{to_begin}\n'
                             f'against {end}:\n{to_end}')
    try:
        told = json.loads(said.splitlines()[-1])['state'] if said.strip() else 'nothing'
    except (ValueError, KeyError):
        told = said.strip().splitlines()[-1]
    tap.say(f'{method}: {how} at {name} {n} of the {who}: as {begin if not to_begin else end}; the job told: {told}{"" if fired else "; nothing was struck"}')
    if told == 'done':
        tap.equal(to_end, '', f'{method} told "done"')
    return fired


def all_points(lab, method):
    """Every (who, call, number, how) that is struck in this method."""
    found = []
    for who in ('worker', 'daemon'):
        counts = calls_of(lab, method, who)
        found += [(who, name, n, how) for name in CALLS if counts[name] and (tap.FULL or name in IN_CHECK[who])
                  for n in points(name, counts[name]) for how in ways(name, n)]
    first, step = (int(word) for word in sys.argv[1].split('/')) if sys.argv[1:] else (1, 1)
    return collections.deque(found[first - 1::step])


def strike_next(lab, left):
    """The next point of the method that can begin now, so that a call which was made whole is followed by its reverse."""
    bound = installed.driver(lab, HBA) == 'vfio-pci'
    method = next((m for m in left if left[m] and (VERBS[m][1] == 'after') == bound), None) or next(m for m in left if left[m])
    point = left[method].popleft()
    lead(lab, VERBS[method][1])
    return point[0], strike(lab, method, *point)


@suite.case
def faults(lab):
    """whatever call of an assign or a release fails or is the last one, the host equals before or after"""
    left = {method: all_points(lab, method) for method in VERBS}
    counts = {method: len(points_) for method, points_ in left.items()}
    failed = 0
    struck = collections.Counter()
    while any(left.values()):
        try:
            struck[strike_next(lab, left)] += 1
        except AssertionError:
            failed += 1
            tap.say(traceback.format_exc())
    tap.say('points struck: ' + ', '.join(f'{count} of {method}' for method, count in counts.items()))
    tap.say(f'without effect: {struck["worker", False]} of the worker, {struck["daemon", False]} of the daemon')
    tap.equal((struck['worker', True] > 0, struck['daemon', True] > 0), (True, True), 'the worker and the daemon were struck')
    tap.equal(failed, 0, 'points after which the host was neither as before nor as after')


def main():
    with Lab(name='faults', topology='default', cpus=1) as lab:
        installed.install(lab, sanitized=True)
        l2.define_guest(lab, GUEST, stay=True)
        lab.write('/tmp/caller.py', CALLER)
        lab.write('/tmp/run', RUN)
        lab.run(f'mkdir -p {FOLDER}')
        lab.write(f'{FOLDER}/wrapper', WRAPPER)
        lab.run(PREPARE)
        installed.snapshot(lab, 'before')
        lead(lab, 'after')
        installed.snapshot(lab, 'after')
        lead(lab, 'before')
        suite.run(lab)


if __name__ == '__main__':
    main()
