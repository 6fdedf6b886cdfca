# SPDX-License-Identifier: GPL-2.0-or-later
"""A bus of its own with passthrud on it and, if wanted, a polkit that answers what a test says; TAP for unittest."""
import collections
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import wire

NAME = 'org.passthru1'
PATH = '/org/passthru1'
MANAGER = 'org.passthru1.Manager'
PROPERTIES = 'org.freedesktop.DBus.Properties'
ACCESS_DENIED = 'org.freedesktop.DBus.Error.AccessDenied'
ABSENT = 'fffe:00:00.0'  # an address at which nothing can be
CONTROLLER = 'fffe:00:01.0'  # the one that the daemon sees; it has no group, so that no plan for it is ever made
NOBODY = 65534
TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), '../..'))
POLKIT = 'org.freedesktop.PolicyKit1'

# The daemon sees this instead of the controllers of the machine that the tests run on.
FUNCTION = {'vendor': '0x8086', 'device': '0x2922', 'class': '0x010601', 'subsystem_vendor': '0x1af4',
            'subsystem_device': '0x1100', 'revision': '0x02', 'driver_override': '(null)'}
WITH_FUNCTION = ['unshare', '--mount', 'sh', '-ec', 'mount --bind "$0" /sys/bus/pci/devices; exec "$1"']

# The rules of the system bus, and root may be polkit.
CONFIG = """<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
  <include>{top}/units/org.passthru1.conf</include>
</busconfig>
"""


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f'{what}: not within {seconds} s')


class Bus:
    """dbus-daemon and passthrud; everything is in one directory that goes with them."""

    def __init__(self, passthrud, **environment):
        self.temporary = tempfile.TemporaryDirectory(prefix='passthru-bus-', ignore_cleanup_errors=True)
        self.directory = self.temporary.name
        self.passthrud = passthrud
        os.chmod(self.directory, 0o755)
        self.address = f'unix:path={self.directory}/bus'
        config = os.path.join(self.directory, 'bus.conf')
        with open(config, 'w', encoding='utf-8') as f:
            f.write(CONFIG.format(directory=self.directory, top=TOP))
        self.devices = os.path.join(self.directory, 'devices')
        os.makedirs(os.path.join(self.devices, CONTROLLER))
        for name, value in FUNCTION.items():
            with open(os.path.join(self.devices, CONTROLLER, name), 'w', encoding='ascii') as f:
                f.write(value + '\n')
        self.log = open(os.path.join(self.directory, 'log'), 'wb')
        self.daemon = None
        self.bus = subprocess.Popen(['dbus-daemon', f'--config-file={config}', '--nofork', '--nopidfile'],
                                    stderr=self.log)
        try:
            self.root = wait_for(self.listens, 'the bus')
            self.daemon = self.start(**environment)
            wait_for(self.ready, 'the daemon')
        except BaseException:
            self.close()
            raise

    def close(self):
        """Ends both, the daemon first; its exit status."""
        for process in (self.daemon, self.bus):
            if process and process.poll() is None:
                process.terminate()
            if process:
                process.wait(20)
        self.log.close()
        self.temporary.cleanup()
        return self.daemon.returncode if self.daemon else None

    def start(self, **environment):
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address,
                           STATE_DIRECTORY=os.path.join(self.directory, 'state'), **environment)
        return subprocess.Popen([*WITH_FUNCTION, self.devices, self.passthrud], env=environment, stderr=self.log)

    def connect(self, uid=None):
        return wire.Connection(self.address, uid)

    def listens(self):
        try:
            return self.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            return None

    def get(self, name, connection=None):
        return (connection or self.root).call(NAME, PATH, PROPERTIES, 'Get', 'ss', (MANAGER, name))[0]

    def workers(self):
        """Those that answer calls: not the one that waits for libvirt's events."""
        with open(f'/proc/{self.daemon.pid}/task/{self.daemon.pid}/children', encoding='ascii') as f:
            return [pid for pid in f.read().split() if '--worker watch' not in self.command(pid)]

    @staticmethod
    def command(pid):
        try:
            with open(f'/proc/{pid}/cmdline', encoding='utf-8') as f:
                return f.read().replace('\0', ' ')
        except OSError:
            return ''

    @contextlib.contextmanager
    def stuck(self, name='revision'):
        """Workers started meanwhile hang in a read of that attribute of the controller."""
        attribute = os.path.join(self.devices, CONTROLLER, name)
        os.rename(attribute, attribute + '.away')
        os.mkfifo(attribute)
        try:
            yield
        finally:
            pipe = os.open(attribute, os.O_RDWR)  # lets them all go on
            os.rename(attribute + '.away', attribute)
            os.close(pipe)

    def ready(self):
        if self.daemon.poll() is not None:
            raise AssertionError(f'passthrud has ended: {self.said()}')
        try:
            return self.get('State') == 'ready'
        except wire.BusError:
            return False

    def said(self):
        """What the daemon and the bus have written."""
        with open(self.log.name, encoding='utf-8', errors='replace') as f:
            return f.read()


Check = collections.namedtuple('Check', 'message subject action details flags cancellation')
YES, NO, CHALLENGE, DISMISSED = (True, False, {}), (False, False, {}), (False, True, {}), \
    (False, True, {'polkit.dismissed': 'true'})


class FakePolkit:
    """Answers CheckAuthorization by what judge(check) returns: authorized, challenge and details; None: not yet."""

    def __init__(self, bus, judge=lambda check: NO):
        self.judge = judge
        self.checks, self.cancelled = [], []
        self.connection = bus.connect()
        self.connection.call(wire.BUS, '/org/freedesktop/DBus', wire.BUS, 'RequestName', 'su', (POLKIT, 4))
        self.ending = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.ending = True
        self.thread.join()
        self.connection.close()

    def serve(self):
        while not self.ending:
            try:
                message = self.connection.receive(0.05)
            except ConnectionError:
                return
            member = message and message.fields.get(wire.MEMBER)
            if member == 'CheckAuthorization':
                self.check(message)
            elif member == 'CancelCheckAuthorization':
                self.cancelled += message.arguments()

    def check(self, message):
        check = Check(message, *message.arguments())
        self.checks.append(check)
        answer = self.judge(check)
        if answer:
            self.answer(check, answer)

    def answer(self, check, answer):
        self.connection.reply(check.message, '(bba{ss})', [answer])


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.begin = 0

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()

    def tell(self, verdict, test, details=''):
        for line in details.splitlines():
            print(f'# {line}')
        name = test.id().split('.')[-1].removeprefix('test_').replace('_', ' ')
        print(f'{verdict} {self.testsRun} - {name} ({time.monotonic() - self.begin:.1f} s)', flush=True)

    def addSuccess(self, test):
        self.tell('ok', test)

    def addError(self, test, err):
        super().addError(test, err)
        self.tell('not ok', test, self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell('not ok', test, self.failures[-1][1])


class Case(unittest.TestCase):
    """Each test with a bus and a daemon; the program is the first argument."""

    def setUp(self):
        self.bus = Bus(os.path.realpath(sys.argv[1]))
        self.addCleanup(self.bus.close)

    def refused(self, name, text, connection, method, signature='', arguments=(), flags=0):
        with self.assertRaises(wire.BusError) as caught:
            connection.call(NAME, PATH, MANAGER, method, signature, arguments, flags)
        self.assertEqual(caught.exception.name, name)
        self.assertIn(text, caught.exception.text)
        return caught.exception.text


def main(usage):
    """Runs the tests of the program, or those named after its arguments, and tells of them in TAP."""
    if len(sys.argv) < 2:
        sys.exit(usage)
    if os.geteuid() != 0:
        sys.exit('it has to be run as root: the daemon and callers of several users are tested')
    program = unittest.defaultTestLoader
    module = sys.modules['__main__']
    names = [name for name in sys.argv[2:] if '.' in name]
    suite = program.loadTestsFromNames(names, module) if names else program.loadTestsFromModule(module)
    result = TapResult()
    suite.run(result)
    print(f'1..{result.testsRun}', flush=True)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
