#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast `passthructl list` and `preflight` are, as ratios to the programs that people use otherwise, and how they grow.

usage: bench.py PASSTHRUD; passthructl is beside it. To be run as root.

It asks a daemon on a bus of its own, on this machine and on made ones of 100, 1,000 and 10,000 PCI functions, which are mounted in
the place of /sys for the bench alone. All programs run in turn, round after round, and the medians count. What is not installed
is named and left out."""
import contextlib
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../bus'))
import machine  # noqa: E402
import testbus  # noqa: E402

SIZES = (100, 1000, 10000)
COMPARED = (100, 1000)  # the made machines that the other programs read, too
ROUNDS = {0: 15, 100: 15, 1000: 5, 10000: 5}  # by size, 0: this machine
DRIVERCTL, LSPCI, VIRSH = ['driverctl', 'list-devices'], ['lspci', '-nnk'], ['virsh', 'nodedev-list', '--cap', 'pci']
CLONE_NEWNS = 0x20000
FASTER_THAN_DRIVERCTL, SLOWER_THAN_LSPCI = 20, 1.2


def run(command, environment):
    """Seconds, and peak memory in MiB, of the program alone."""
    begin = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    said = process.stderr.read().decode(errors='replace')
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    # preflight ends with 1 when a check fails, and says nothing on standard error then
    if process.returncode not in (0, 1) or (process.returncode == 1 and said):
        raise SystemExit(f'bench: {" ".join(command)} ended with {process.returncode}: {said}')
    return seconds, usage.ru_maxrss / 1024


def measure(commands, environment, rounds):
    """Median seconds, the peak and the fewest seconds of each, by name. The first round warms the caches and is not counted."""
    samples = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            samples[name].append(run(command, environment))
    return {name: (statistics.median(s for s, _ in taken[1:]), max(m for _, m in taken), min(s for s, _ in taken[1:]))
            for name, taken in samples.items()}


class Daemon(testbus.Bus):
    """It sees what the bench sees, and its memory is known when it has ended."""

    peak = 0

    def start(self, **environment):
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address,
                           STATE_DIRECTORY=os.path.join(self.directory, 'state'), **environment)
        return subprocess.Popen([self.passthrud], env=environment, stderr=self.log)

    def close(self):
        """The peak is the greatest of the daemon and its workers."""
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            _, status, usage = os.wait4(self.daemon.pid, 0)
            self.daemon.returncode = os.waitstatus_to_exitcode(status)
            self.peak = usage.ru_maxrss / 1024
        return super().close()


def own_mounts():
    """What is mounted from now on is seen by the bench and what it starts, and goes with it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise SystemExit(f'bench: no mount namespace of its own: {os.strerror(ctypes.get_errno())}')
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)


class Machine:
    """A made machine in the place of /sys."""

    def __init__(self, directory, size):
        self.size = size
        self.root = os.path.join(directory, str(size))
        self.controllers = machine.make(self.root, size)

    def __enter__(self):
        subprocess.run(['mount', '--bind', f'{self.root}/sys', '/sys'], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(['umount', '/sys'], check=True)


# -- against other programs ----------------------------------------------------------------------------------------------------

def others(made):
    """Those that are there; what is not is said once, of this machine."""
    found = {}
    for command in (DRIVERCTL, LSPCI, VIRSH):
        name = ' '.join(command)
        if not shutil.which(command[0]):
            problem = 'not installed'
        elif command is VIRSH and made:
            problem = None  # libvirtd looks at the machine itself
        elif command is VIRSH and subprocess.run(VIRSH, capture_output=True, check=False).returncode != 0:
            problem = 'libvirt does not answer'
        elif command is DRIVERCTL and subprocess.run(DRIVERCTL, capture_output=True, check=False).returncode != 0:
            problem = 'it finds no device'
        else:
            found[name] = command
            continue
        if problem and not made:
            print(f'not measured: {name}: {problem}')
    return found


def ours(passthructl, root):
    return {'list': [passthructl, 'list'], 'preflight': [passthructl, 'preflight'],
            'list --sysroot': [passthructl, 'list', '--sysroot', root],
            'preflight --sysroot': [passthructl, 'preflight', '--sysroot', root]}


def ratio(over, under):
    return f'{over / under:6.2f}' if over and under else '     -'


def compare(title, took, names):
    print(f'\n{title}\n{"":24}     ms  driverctl/it   it/lspci   it/virsh')
    driverctl, lspci, virsh = (took.get(' '.join(c), (None,))[0] for c in (DRIVERCTL, LSPCI, VIRSH))
    for name, (seconds, *_) in took.items():
        print(f'{name:24} {seconds * 1000:6.1f}        {ratio(driverctl, seconds)}     {ratio(seconds, lspci)}     {ratio(seconds, virsh)}')
    for name in names:
        seconds = took[name][0]
        for what, base, good in ((f'at least {FASTER_THAN_DRIVERCTL} times faster than driverctl', driverctl,
                                  lambda s, b: b >= FASTER_THAN_DRIVERCTL * s),
                                 ('not slower than lspci -nnk plus 20 %', lspci, lambda s, b: s <= SLOWER_THAN_LSPCI * b)):
            if base:
                print(f'aim {"met" if good(seconds, base) else "missed"}: {name}: {what}')


# -- growth --------------------------------------------------------------------------------------------------------------------

def added(results, name, column, small, large):
    """What each function more costs, from one size to the next."""
    return (results[large][name][column] - results[small][name][column]) / (large - small)


def growth(results):
    """By the fastest rounds: what else the machine does disturbs them least."""
    print(f'\nGrowth: fastest round and peak memory; what one function more costs from {SIZES[0]} to {SIZES[1]} and from there to '
          f'{SIZES[2]}.\nTime grows linearly where these are alike (ratio 1); memory, where the last is small: a small machine fits '
          'into what the table of names takes.')
    print(f'{"":24}' + ''.join(f'{size:>9} ms    MiB' for size in SIZES) + '   us/function         ratio  KiB/function')
    for name in results[SIZES[0]]:
        cells = ''.join(f'{results[size][name][2] * 1000:12.1f} {results[size][name][1]:6.1f}' for size in SIZES)
        seconds = [added(results, name, 2, small, large) for small, large in zip(SIZES, SIZES[1:])]
        memory = [added(results, name, 1, small, large) for small, large in zip(SIZES, SIZES[1:])]
        print(f'{name:24}{cells}  {seconds[0] * 1e6:6.1f} {seconds[1] * 1e6:6.1f}        {ratio(seconds[1], seconds[0])}   '
              f'{memory[0] * 1024:5.2f} {memory[1] * 1024:5.2f}')


def measure_made(passthrud, passthructl, made):
    with made, Running(passthrud) as daemon:
        commands = ours(passthructl, made.root)
        if made.size in COMPARED:
            commands |= others(True)
        took = measure(commands, daemon.environment, ROUNDS[made.size])
        if made.size == SIZES[0]:
            fresh(passthructl, daemon.environment, made)
    # What answers is a worker of the daemon: its memory counts, not that of the program that asks.
    for name in ('list', 'preflight'):
        took[name] = (took[name][0], daemon.bus.peak, took[name][2])
    return took


class Running:
    """A daemon for as long as the block lasts."""

    def __init__(self, passthrud):
        self.bus = Daemon(passthrud)
        self.environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bus.close()


# -- no answer is an old one -----------------------------------------------------------------------------------------------------

def answer(command, environment):
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False).stdout)


def rebind(link, driver):
    os.unlink(link)
    os.symlink(f'../../../../bus/pci/drivers/{driver}', link)


def in_use(passthructl, environment, made):
    """Whether host-disk-use of any controller fails."""
    found = answer([passthructl, '--json', 'preflight', '--sysroot', made.root], environment)['findings']
    return any(f['check'] == 'host-disk-use' and f['verdict'] == 'fail' for f in found)


@contextlib.contextmanager
def line(path, text):
    """In a file, at its end, for as long as the block lasts."""
    with open(path, encoding='ascii') as f:
        before = f.read()
    os.unlink(path)  # others may be the same file
    with open(path, 'w', encoding='ascii') as f:
        f.write(before + text + '\n')
    yield
    with open(path, 'w', encoding='ascii') as f:
        f.write(before)


@contextlib.contextmanager
def array(root, disk):
    """An md array on the disk."""
    device, links = f'{root}/sys/devices/virtual/block/md9', []
    where = os.path.realpath(f'{root}/sys/class/block/{disk}')
    os.makedirs(f'{device}/slaves')
    os.makedirs(f'{device}/md')
    for name, value in (('dev', '9:9'), ('size', '2048'), ('md/array_state', 'clean')):
        with open(f'{device}/{name}', 'w', encoding='ascii') as f:
            f.write(value + '\n')
    for path, target in ((f'{root}/sys/class/block/md9', device), (f'{where}/holders/md9', device), (f'{device}/slaves/{disk}', where)):
        os.symlink(os.path.relpath(target, os.path.dirname(path)), path)
        links.append(path)
    yield
    for path in links:
        os.unlink(path)
    shutil.rmtree(device)


def fresh(passthructl, environment, made):
    """Nothing is kept from one answer to the next: a change made right before the call is in it."""
    path = made.controllers[0]
    address, link = path.rsplit('/', 1)[1], f'{made.root}{path}/driver'
    disk = next(n for n in os.listdir(f'{made.root}/sys/class/block') if n.startswith('nvme'))
    told = []
    for driver in ('vfio-pci', 'nvme') * 10:
        rebind(link, driver)
        rows = answer([passthructl, '--json', 'list'], environment)
        told.append([row['driver'] for row in rows if row['address'] == address] == [driver])
    print('\nChanges made right before the call are in the answer:')
    print(f'driver, list by the daemon: {sum(told)} of {len(told)}')
    for what, change in (('mount', lambda: line(f'{made.root}/proc/1/mountinfo', f'2 1 0:99 / /srv rw - ext4 /dev/{disk} rw')),
                         ('swapon', lambda: line(f'{made.root}/proc/swaps', f'/dev/{disk} partition 1 0 -2')),
                         ('md start', lambda: array(made.root, disk))):
        told = []
        for _ in range(5):
            with change():
                told.append(in_use(passthructl, environment, made))
            told.append(not in_use(passthructl, environment, made))
        print(f'{what}, and its end, preflight --sysroot: {sum(told)} of {len(told)}')
    print('The same on a real kernel: tests/lab/test_refusals.py and tests/lab/test_events.py.')


def main():
    if len(sys.argv) != 2 or os.geteuid() != 0:
        sys.exit('usage: bench.py PASSTHRUD, as root')
    passthrud = os.path.realpath(sys.argv[1])
    passthructl = os.path.join(os.path.dirname(passthrud), 'passthructl')
    own_mounts()
    with Running(passthrud) as daemon:
        commands = others(False) | ours(passthructl, '/')
        took = measure(commands, daemon.environment, ROUNDS[0])
    compare(f'This machine: {len(os.listdir("/sys/bus/pci/devices"))} PCI functions', took, ('list', 'preflight'))
    # Memory rather than a disk, if there is some
    place = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix='passthru-bench-', dir=place) as directory:
        results = {size: measure_made(passthrud, passthructl, Machine(directory, size)) for size in SIZES}
    names = list(ours(passthructl, '/'))
    for size in COMPARED:
        compare(f'A made machine of {size} PCI functions', results[size], names)
    growth({size: {name: results[size][name] for name in names} for size in SIZES})


if __name__ == '__main__':
    main()
