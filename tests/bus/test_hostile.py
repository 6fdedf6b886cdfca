#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Thousands of calls from an unprivileged user, half well-typed with hostile contents, half of any types at all.
The daemon must live on, clean under its sanitizers, and not grow.

usage: test_hostile.py PASSTHRUD...
One built with sanitizers must write no report; of one without them the memory is measured. PASSTHRU_FULL makes ten
times as many calls, PASSTHRU_SEED repeats a run."""
import collections
import glob
import os
import random
import string
import sys
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../lab'))

import tap  # noqa: E402 - from the lab
import testbus  # noqa: E402
import wire  # noqa: E402
from testbus import ABSENT, CONTROLLER, MANAGER, NAME, NO, NOBODY, PATH, PROPERTIES, YES, wait_for  # noqa: E402

CALLS = 20000 if tap.FULL else 2000
SEED = int(os.environ.get('PASSTHRU_SEED') or time.time())
WINDOW = 24  # calls without an answer; more than the daemon lets one user have
GROWTH = 1024  # KiB, from the first tenth of the calls to the last
INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable'
# What Properties.Get says of a property that is not there is an answer of Get.
ABSENT_METHOD = {'org.freedesktop.DBus.Error.UnknownMethod', 'org.freedesktop.DBus.Error.UnknownObject'}

STRINGS = [
    '', ABSENT, CONTROLLER, 'nas', '0000:00:00.0', 'ffff:ff:1f.7', '0000:00:20.0', '0' * 256, 'g' * 257, 'x' * 100000,
    '../../../etc/passwd', '/', '/org/passthru1/job/1', '%s%n%n%n%x', '"; rm -rf /', '{"a":', '\\u0000', '\n',
    'nas\nrun it', '\x01\x1b[2J\x7f', '\u202e', '\u0085', '\U0010ffff', '\ufeff', '\ud7ff', '\ue000',
    '$(controllers)$(guest)', '$(polkit.message)', '<b>nas</b>', 'ä' * 128, ' ', '-', '--worker', '*',
    '0000:03:00.0\t', '1e999', 'Infinity', '\t' * 300, 'host-disk-use', 'group-isolated', 'org.passthru1.Manager',
    'State', 'Version', 'Text',
]
INTEGERS = [0, 1, -1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 62,
            1 << 63, -1 << 63]
SIZES = {'y': 8, 'n': 16, 'q': 16, 'i': 32, 'u': 32, 'x': 64, 't': 64}


class Hostile:
    """Makes values and signatures."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def string(self):
        if self.random.random() < 0.7:
            return self.random.choice(STRINGS)
        size = self.random.choice((1, 8, 64, 255, 256, 257, 4000))
        return ''.join(chr(self.random.choice((self.random.randrange(1, 128), self.random.randrange(1, 0xd800))))
                       for _ in range(size))

    def path(self):
        letters = string.ascii_letters + string.digits + '_'
        words = [''.join(self.random.choices(letters, k=self.random.choice((1, 8, 200))))
                 for _ in range(self.random.randrange(4))]
        return self.random.choice((PATH, PATH + '/job/1', PATH + '/controller/x', '/', '/' + '/'.join(words)))

    def length(self):
        return self.random.choices((0, 1, 2, 63, 64, 65, 2000), weights=(6, 8, 4, 1, 1, 1, 1))[0]

    def basic(self, kind):
        if kind == 's':
            return self.string()
        if kind == 'o':
            return self.path()
        if kind == 'g':
            return self.signature(1, 8)
        if kind == 'b':
            return self.random.randrange(2)
        if kind == 'd':
            return self.random.choice((0.0, -0.0, float('inf'), float('nan'), 1e308, 5e-324))
        bits = SIZES[kind]
        value = self.random.choice(INTEGERS) & ((1 << bits) - 1)
        return value - (1 << bits) if kind in 'nix' and value >> (bits - 1) else value

    def value(self, kind, depth=0):
        if kind[0] == 'v':
            inner = self.one_type(depth + 1)
            return inner, self.value(inner, depth + 1)
        if kind[0] == 'a':
            n = self.length() if len(kind) == 2 else self.random.randrange(3)
            items = [self.value(kind[1:], depth + 1) for _ in range(min(n, 3))]
            # The bus takes no message of more than 32 MiB.
            return (items * (n // 3 + 1))[:n] if len(repr(items)) * n < 2000000 else items
        if kind[0] in '({':
            return [self.value(part, depth + 1) for part in wire.split(kind[1:-1])]
        return self.basic(kind)

    def one_type(self, depth=0):
        kinds = 'ybnqiuxtdsog' + ('' if depth > 3 else 'aaa((v{')
        kind = self.random.choice(kinds)
        if kind == 'a':
            return 'a' + self.one_type(depth + 1)
        if kind == '(':
            return '(' + self.signature(1, 4, depth + 1) + ')'
        if kind == '{':
            return 'a{' + self.random.choice('ybnqiuxtdsog') + self.one_type(depth + 2) + '}'
        return kind

    def signature(self, least, most, depth=0):
        text = ''.join(self.one_type(depth) for _ in range(self.random.randint(least, most)))
        return text if len(text) < 200 else 's'

    def arguments(self, signature):
        return [self.value(part) for part in wire.split(signature)]

    def plausible(self, signature):
        """Arguments that get as far as a worker."""
        address = self.random.choice((ABSENT, CONTROLLER))
        values = {'s': 'nas', 'as': [address] * self.random.choice((0, 1, 1, 2)), 'b': self.random.randrange(2)}
        return [address if signature == 's' else values[part] for part in wire.split(signature)]


Method = collections.namedtuple('Method', 'path interface name signature')
Property = collections.namedtuple('Property', 'path interface name')


def introspect(connection, path):
    """The methods and properties of an object and those below it."""
    text, = connection.call(NAME, path, INTROSPECTABLE, 'Introspect')
    node = xml.etree.ElementTree.fromstring(text)
    methods, properties = [], []
    for interface in node.findall('interface'):
        name = interface.get('name')
        for m in interface.findall('method'):
            signature = ''.join(a.get('type') for a in m.findall('arg') if a.get('direction', 'in') == 'in')
            methods.append(Method(path, name, m.get('name'), signature))
        properties += [Property(path, name, p.get('name')) for p in interface.findall('property')]
    for child in node.findall('node'):
        below = introspect(connection, f"{path}/{child.get('name')}")
        methods += below[0]
        properties += below[1]
    return methods, properties


def private_memory(pid):
    """Its own memory in KiB, and with the pages of program files that at the moment no other process has mapped: these
    come and go with the other processes of the machine."""
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        sizes = {line.split(':')[0]: int(line.split()[1]) for line in f if line.startswith('Private_')}
    return sum(sizes.values()) - sizes['Private_Clean'], sum(sizes.values())


class Run:
    """One daemon and what was sent to it."""

    def __init__(self, passthrud):
        self.hostile = Hostile(SEED)
        self.reports = os.path.join('/tmp', f'passthru-hostile-{os.getpid()}')
        options = f'log_path={self.reports}'
        self.bus = testbus.Bus(passthrud, ASAN_OPTIONS=options, UBSAN_OPTIONS=options)
        self.polkit = testbus.FakePolkit(self.bus, self.judge)
        self.user = self.bus.connect(NOBODY)
        self.open = {}  # serial: what was asked
        self.reached, self.errors = set(), collections.Counter()
        self.memory = (0, 0), (0, 0)

    def judge(self, check):
        return YES if check.action == 'org.passthru1.inspect' or len(self.polkit.checks) % 2 else NO

    def idle(self):
        """No call open and no worker left."""
        self.take(0)
        wait_for(lambda: not self.bus.workers(), 'the workers end', 90)

    def take(self, most):
        """Receives until no more than so many calls are open."""
        while len(self.open) > most:
            message = self.user.receive(90)
            if not message:
                raise AssertionError(f'no answer to {list(self.open.values())[:5]}')
            asked = self.open.pop(message.fields.get(wire.REPLY_SERIAL), None)
            if not asked:
                continue
            name = message.fields.get(wire.ERROR_NAME)
            self.errors[name or 'answered'] += 1
            if not name or isinstance(asked, Method) and name not in ABSENT_METHOD:
                self.reached.add(asked)

    def ask(self, about, path, interface, name, signature, arguments):
        flags = wire.INTERACTIVE if self.hostile.random.random() < 0.1 else 0
        serial = self.user.send_call(NAME, path, interface, name, signature, arguments, flags)
        self.open[serial] = about
        self.take(WINDOW)

    def ask_method(self, method):
        plausible = method.interface == MANAGER and self.hostile.random.random() < 0.3
        arguments = (self.hostile.plausible if plausible else self.hostile.arguments)(method.signature)
        self.ask(method, *method, arguments)

    def ask_property(self, p):
        self.ask(p, p.path, PROPERTIES, 'Get', 'ss', (p.interface, p.name))

    def ask_anything(self, methods):
        method = self.hostile.random.choice(methods)
        path, interface, name = method.path, method.interface, method.name
        if self.hostile.random.random() < 0.1:
            path = self.hostile.path()
        if self.hostile.random.random() < 0.1:
            interface = self.hostile.random.choice(methods).interface
        if self.hostile.random.random() < 0.1:
            name = self.hostile.random.choice(('Set', 'Format', 'x' * 255, 'A', 'list'))
        signature = self.hostile.signature(0, 5)
        self.ask('anything', path, interface, name, signature, self.hostile.arguments(signature))

    def find_job(self):
        """What a job has; all of it is reached while there is one."""
        with self.bus.stuck():
            path, = self.user.call(NAME, PATH, MANAGER, 'Preflight', 'ass', ([], ''))
            methods, properties = introspect(self.user, path)
            for p in properties:
                self.ask_property(p)
            self.take(0)
            own = [m for m in methods if m.interface == f'{NAME}.Job']
            for m in own:
                self.ask(m, *m, ())
            self.take(0)
        strip = [Property(f'{PATH}/job/N', p.interface, p.name) for p in properties]
        self.reached |= {s for s, p in zip(strip, properties) if p in self.reached}
        self.reached |= {m._replace(path=f'{PATH}/job/N') for m in own if m in self.reached}
        return [m._replace(path=f'{PATH}/job/N') for m in methods], strip

    def calls(self, n):
        self.bus.root.call(NAME, PATH, MANAGER, 'List')  # after it the controllers are on the bus
        methods, properties = introspect(self.user, PATH)
        job_methods, job_properties = self.find_job()
        targets = [self.ask_method] * len(methods) + [self.ask_property] * len(properties)
        targets = list(zip(targets, methods + properties))
        memory = 0, 0
        for i in range(n):
            if i % 2:
                self.ask_anything(methods)
            else:
                ask, target = targets[i // 2 % len(targets)]
                ask(target)
            if i == n // 10:
                self.idle()
                memory = private_memory(self.bus.daemon.pid)
        self.idle()
        self.memory = memory, private_memory(self.bus.daemon.pid)
        return {(t.interface, t.name) for t in methods + job_methods}, \
            {(t.interface, t.name) for t in properties + job_properties}

    def answers(self):
        """The daemon is well: root is answered, and nothing of the host has changed."""
        self.bus.root.call(NAME, PATH, MANAGER, 'List')
        tap.equal(self.bus.get('State'), 'ready', 'the state')
        tap.equal(self.bus.root.call(NAME, PATH, MANAGER, 'Status'), ['[]'], 'the assignments')

    def close(self):
        self.polkit.close()
        status = self.bus.close()
        reports = ''
        for path in glob.glob(self.reports + '*'):
            with open(path, encoding='utf-8', errors='replace') as f:
                reports += f.read(20000)
            os.unlink(path)
        return status, reports


def attack(t, passthrud):
    sanitized = b'__asan_init' in open(passthrud, 'rb').read()
    kind = 'with sanitizers' if sanitized else 'as installed'
    run = Run(passthrud)
    begin = time.monotonic()
    with t.test(f'{CALLS} hostile calls, passthrud {kind}'):
        methods, properties = run.calls(CALLS)
        run.answers()
        seconds = time.monotonic() - begin
        seen = {(r.interface, r.name) for r in run.reached if r != 'anything'}
        t.note(f'{seconds:.0f} s, {CALLS / seconds:.0f} calls a second; polkit was asked '
               f'{len(run.polkit.checks)} times; methods reached: {len(methods & seen)} of {len(methods)}, '
               f'properties: {len(properties & seen)} of {len(properties)}')
        t.note('answers: ' + ', '.join(f'{n} {name.split(".")[-1]}' for name, n in run.errors.most_common()))
        tap.equal(sorted((methods | properties) - seen), [], 'not reached')
        for interface in ('Manager', 'Controller', 'Job'):
            tap.contains([i for i, _ in properties], f'{NAME}.{interface}')
    if not sanitized:
        with t.test('the daemon does not grow'):
            (first, first_files), (last, last_files) = run.memory
            t.note(f'private memory after a tenth of the calls: {first} KiB, after the last: {last} KiB; '
                   f'with pages of files: {first_files} and {last_files} KiB')
            if last > first + GROWTH:
                raise AssertionError(f'it has grown by {last - first} KiB')
    with t.test(f'it ends well, passthrud {kind}'):
        status, reports = run.close()
        tap.equal(reports, '', 'sanitizer reports')
        tap.equal(status, 0, 'exit status')


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    t = tap.Tap()
    t.note(f'seed {SEED}')
    for passthrud in sys.argv[1:]:
        attack(t, os.path.realpath(passthrud))
    t.end()


if __name__ == '__main__':
    main()
