# SPDX-License-Identifier: GPL-2.0-or-later
"""passthru as `make install` puts it, inside L1, and what the tests ask of it and of L1 itself."""
import json
import os
import subprocess
import tempfile

import tap

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOSTSTATE = 'python3 /lab/hoststate.py'


# strace and LeakSanitizer cannot both trace a process.
SANITIZER = '[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=0:log_path=stderr UBSAN_OPTIONS=print_stacktrace=1\n'


def install(lab, sanitized=False):
    """Installs the built programs into L1 and starts the service; `sanitized`: those with AddressSanitizer."""
    lab.wait_host()
    build = ['BUILD=build/asan', 'SANITIZE=1'] if sanitized else []
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(['make', '-s', '-C', TOP, 'install', f'DESTDIR={tree}', 'prefix=/usr/local', *build], check=True,
                       stdout=subprocess.DEVNULL)
        lab.install(tree)
    if sanitized:
        lab.run('mkdir -p /etc/systemd/system/passthrud.service.d')
        lab.write('/etc/systemd/system/passthrud.service.d/sanitizer.conf', SANITIZER)
        lab.run('systemctl daemon-reload', timeout=60)
    lab.put(os.path.join(TOP, 'tests/lab/hoststate.py'), 'hoststate.py')
    lab.run('systemctl enable --now passthrud', timeout=120)


def ctl(lab, *arguments, timeout=120):
    """(status, stdout, stderr) of passthructl."""
    result = lab.run(['passthructl', *arguments], timeout=timeout, check=False)
    return result.rc, result.out.strip('\n'), result.err.strip('\n')


def ctl_json(lab, *arguments):
    status, out, err = ctl(lab, '--json', *arguments)
    if not out:
        raise AssertionError(f'passthructl {arguments} printed nothing on stdout, status {status}: {err}')
    return json.loads(out)


def must(lab, *arguments, timeout=180):
    status, out, err = ctl(lab, *arguments, timeout=timeout)
    if status != 0:
        raise AssertionError(f'passthructl {" ".join(arguments)} ended with {status}:\n{out}\n{err}')
    return out


def refused(lab, arguments, *words, status=1):
    """The command is refused with these words on stderr, nothing on stdout, and the host is as it was."""
    before = snapshot(lab)
    code, out, err = ctl(lab, *arguments)
    tap.say(f'passthructl {" ".join(arguments)}: status {code}\n{err}')
    tap.equal(code, status, 'exit status')
    tap.equal(out, '', 'standard output of a refusal')
    tap.contains(err, *words)
    same(lab, before)


def snapshot(lab, name='before'):
    """The judge's reading of L1, kept there under the name."""
    lab.run(f'udevadm settle -t 20; {HOSTSTATE} > /tmp/state-{name}.json', timeout=180)
    return name


def differences_from(lab, *names):
    """What the judge finds changed since each of the snapshots, from one reading."""
    lab.run(f'udevadm settle -t 20; {HOSTSTATE} > /tmp/state-now.json', timeout=180)
    found = [lab.run(f'{HOSTSTATE} compare /tmp/state-{name}.json /tmp/state-now.json', timeout=60, check=False) for name in names]
    return ['' if status == 0 else out or f'status {status}' for status, out in found]


def differences(lab, before):
    """What the judge finds changed since; empty when the host is as it was."""
    return differences_from(lab, before)[0]


def same(lab, before):
    found = differences(lab, before)
    if found:
        raise AssertionError(f'the host is not as it was:\n{found}')


def driver(lab, address):
    status, out = lab.run(f'basename "$(readlink /sys/bus/pci/devices/{address}/driver)"', check=False)
    return out.strip() if status == 0 else ''


def block_serials(lab):
    """{serial: kernel name} of L1's whole disks, from L1's own lsblk."""
    _, out = lab.run('lsblk -dnJ -o NAME,SERIAL')
    return {d['serial']: d['name'] for d in json.loads(out)['blockdevices'] if d['serial']}


def wait_for_serials(lab, serials):
    """L1's names of the disks with these serials, once all of them are there."""
    lab.run('udevadm settle -t 20')
    for _ in range(20):
        found = block_serials(lab)
        if all(s in found for s in serials):
            return {s: found[s] for s in serials}
        lab.run('sleep 1; udevadm settle -t 20')
    raise AssertionError(f'L1 shows {found}, not all of {serials}')


def address_of_disk(lab, disk):
    """PCI address in L1 of the controller that carries the lab's disk, looked up by its serial number in L1's sysfs."""
    name = wait_for_serials(lab, [lab.disks[disk].serial])[lab.disks[disk].serial]
    _, path = lab.run(f'realpath /sys/block/{name}')
    return [part for part in path.strip().split('/') if part.count(':') == 2 and '.' in part][-1]


def node_of_disk(lab, disk):
    return '/dev/' + wait_for_serials(lab, [lab.disks[disk].serial])[lab.disks[disk].serial]


def root_controller(lab):
    """The address of the controller that L1's root disk is behind."""
    path = lab.run('realpath /sys/class/block/$(lsblk -dno KNAME $(findmnt -no SOURCE /))').out
    return [part for part in path.strip().split('/') if part.count(':') == 2 and '.' in part][-1]


def addresses_of_class(lab, prefix):
    """PCI addresses in L1 whose class begins with the digits, e.g. 0200 for network controllers."""
    _, out = lab.run(f'grep -l "^0x{prefix}" /sys/bus/pci/devices/*/class', check=False)
    return [line.split('/')[-2] for line in out.split()]
