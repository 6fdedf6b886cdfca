#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every write, open, rename, unlink, sync and libvirt send of one assign and one release fails, or is the last thing that the
process does. strace makes it so from outside, in the worker and in the daemon (each counts its own calls); the programs are
built with AddressSanitizer. Afterwards the host equals before or after."""
import collections
import json
import re

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
IN_CHECK = ('pwrite64', 'fsync', 'sendmsg')  # make check strikes these only, each once
# How many of the calls of one kind are struck: opens are mostly of sysfs files that are read again and again.
POINTS = {'openat': 40, 'openat2': 20} if tap.FULL else {}
DEFAULT_POINTS = 1000 if tap.FULL else 1
# What changes the host or the journal is struck both ways; of the rest every other call fails and every other is the last one.
BOTH_WAYS = ('pwrite64', 'fsync', 'renameat', 'unlinkat', 'mkdirat', 'sendmsg', 'sendto')

CALLER = r'''
import json, subprocess, sys, time
method, digest = sys.argv[1], sys.argv[2]
arguments = {'Assign': ['assasbs', '1', sys.argv[3], sys.argv[4], '0', 'false', digest],
             'Release': ['assbs', '1', sys.argv[3], '', 'false', digest]}[method]
watch = subprocess.Popen(['timeout', '100', 'busctl', '--json=short', 'monitor', 'org.passthru1'], stdout=subprocess.PIPE, text=True)
time.sleep(1.5)
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
        if message.get('member') == 'NameOwnerChanged' and data[0] == 'org.passthru1':
            break
else:
    print(call.stderr)
watch.kill()
'''

RUN = r'''
# usage: run STRACE-OPTIONS -- CALLER-ARGUMENTS: one call with strace on the daemon and what it starts
options=; while [ "$1" != -- ]; do options="$options $1"; shift; done; shift
main=$(systemctl show -P MainPID passthrud)
setsid strace -f -o /tmp/faults.trace $options -p $main > /dev/null 2>&1 &
for i in $(seq 100); do grep -q "TracerPid:.[1-9]" /proc/$main/status && break; sleep 0.1; done
timeout 110 python3 /tmp/caller.py "$@"
pkill -KILL strace
for i in $(seq 120); do
        [ "$(busctl get-property org.passthru1 /org/passthru1 org.passthru1.Manager State 2> /dev/null)" = 's "ready"' ] &&
                ! pgrep -f "passthrud --worker (apply|recover)" > /dev/null && break
        systemctl is-failed -q passthrud && systemctl reset-failed passthrud && systemctl start passthrud
        sleep 0.5
done
exit 0
'''

VERBS = {'Assign': (['assign', HBA, GUEST], 'before', 'after'), 'Release': (['release', HBA], 'after', 'before')}


def digest(lab, method):
    return installed.ctl_json(lab, *VERBS[method][0], '--dry-run')['digest']


def call(lab, method, options):
    """One Assign or Release with strace's options; what the job said."""
    arguments = [method, digest(lab, method), HBA, GUEST]
    return lab.run(['bash', '/tmp/run', *options, '--', *arguments], timeout=240).out


def lead(lab, state):
    if state == 'after' and installed.driver(lab, HBA) != 'vfio-pci':
        installed.must(lab, 'assign', HBA, GUEST, '--yes')
    elif state == 'before' and installed.driver(lab, HBA) == 'vfio-pci':
        installed.must(lab, 'release', HBA, '--yes')
    if state == 'before':
        installed.wait_for_serials(lab, mainjob.serials(lab))


def calls_of_worker(lab, method):
    """{call: how often the worker makes it} in one undisturbed run."""
    said = call(lab, method, ['-e', 'trace=' + ','.join(CALLS)])
    tap.contains(said, '"state":"done"')
    pid = lab.run("grep -o '^[0-9]* .*\"begin' /tmp/faults.trace | head -1 | cut -d' ' -f1").out.strip()
    trace = lab.run(f'grep "^{pid} " /tmp/faults.trace').out
    return collections.Counter(re.findall(r'^\d+ +(\w+)\(', trace, re.M))


def points(name, count):
    limit = min(POINTS.get(name, DEFAULT_POINTS), count)
    return sorted({1 + (2 * i + 1) * count // (2 * limit) for i in range(limit)} - {count + 1})


def ways(name, n):
    """How the Nth call is struck."""
    both = (f'error={CALLS[name]}', 'signal=SIGKILL')
    if not tap.FULL:
        return both[:1]
    return both if name in BOTH_WAYS else both[n % 2:n % 2 + 1]


def strike(lab, method, name, n, how):
    begin, end = VERBS[method][1:]
    lead(lab, begin)
    said = call(lab, method, ['-e', f'trace={name}', '-e', f'inject={name}:{how}:when={n}'])
    to_begin, to_end = installed.differences_from(lab, begin, end)
    reports = lab.run('journalctl -b -o cat -u passthrud | grep -c "AddressSanitizer\\|runtime error"', check=False).out.strip()
    tap.equal(reports, '0', f'reports of the sanitizers after {how} at {name} {n}')
    if to_begin and to_end:
        raise AssertionError(f'{how} at {name} {n} of {method}: neither before nor after.\n{said}\nagainst {begin}:\n{to_begin}\n'
                             f'against {end}:\n{to_end}')
    try:
        told = json.loads(said.splitlines()[-1])['state'] if said.strip() else 'nothing'
    except (ValueError, KeyError):
        told = said.strip().splitlines()[-1]
    tap.say(f'{method}: {how} at {name} {n}: as {begin if not to_begin else end}; the job told: {told}')
    if told == 'done':
        tap.equal(to_end, '', f'{method} told "done"')


def strike_all(lab, method):
    lead(lab, VERBS[method][1])
    counts = calls_of_worker(lab, method)
    tap.say(f'{method}: calls of the worker: ' + ', '.join(f'{name} {count}' for name, count in sorted(counts.items())))
    tap.equal({'pwrite64', 'fsync', 'openat'} <= set(counts), True, 'calls were counted')
    struck = 0
    for name in CALLS:
        for n in points(name, counts[name]) if counts[name] and (tap.FULL or name in IN_CHECK) else []:
            for how in ways(name, n):
                strike(lab, method, name, n, how)
                struck += 1
    tap.say(f'{method}: {struck} points struck of {sum(counts.values())} calls')
    return struck


@suite.case
def faults_of_assign(lab):
    """whatever call of an assign fails or is the last one, the host equals before or after"""
    strike_all(lab, 'Assign')


@suite.case
def faults_of_release(lab):
    """whatever call of a release fails or is the last one, the host equals before or after"""
    strike_all(lab, 'Release')


def main():
    with Lab(name='faults', topology='default') as lab:
        installed.install(lab, sanitized=True)
        l2.define_guest(lab, GUEST, stay=True)
        lab.write('/tmp/caller.py', CALLER)
        lab.write('/tmp/run', RUN)
        installed.snapshot(lab, 'before')
        lead(lab, 'after')
        installed.snapshot(lab, 'after')
        lead(lab, 'before')
        suite.run(lab)


if __name__ == '__main__':
    main()
