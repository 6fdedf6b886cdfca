#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""passthrud on a bus of its own: what it answers, refuses and survives. Changes nothing on the host.

usage: test_daemon.py PASSTHRUD [TEST]"""
import json
import os
import signal
import time

import testbus
import wire
from testbus import ABSENT, ACCESS_DENIED, CONTROLLER, MANAGER, NAME, NOBODY, PATH

ARGUMENT = 'org.passthru1.Error.InvalidArgument'
OBJECTS = 'org.freedesktop.DBus.ObjectManager'


class DaemonTest(testbus.Case):
    def call(self, method, signature='', arguments=()):
        return self.bus.root.call(NAME, PATH, MANAGER, method, signature, arguments)[0]

    def job_result(self, method, signature, arguments):
        """Starts a job and returns what JobRemoved says of it."""
        job = self.call(method, signature, arguments)
        while True:
            message = self.bus.root.receive(60)
            self.assertTrue(message, 'JobRemoved')
            if message.fields.get(wire.MEMBER) == 'JobRemoved' and message.arguments()[1] == job:
                return message, json.loads(message.arguments()[2])

    def objects(self):
        return self.bus.root.call(NAME, PATH, OBJECTS, 'GetManagedObjects')[0]

    def test_list_show_and_status(self):
        rows = json.loads(self.call('List'))
        self.assertEqual([row['address'] for row in rows], [CONTROLLER])
        self.assertEqual(json.loads(self.call('Show', 's', [CONTROLLER]))['address'], CONTROLLER)
        self.assertEqual(json.loads(self.call('Status')), [])
        self.assertRegex(self.bus.get('Version'), r'^\d+\.\d+')

    def test_controllers_are_objects(self):
        rows = json.loads(self.call('List'))
        found = {path: o['org.passthru1.Controller'] for path, o in self.objects().items()
                 if 'org.passthru1.Controller' in o}
        self.assertEqual(list(found), [f"{PATH}/controller/{CONTROLLER.replace(':', '_').replace('.', '_')}"])
        properties, = found.values()
        self.assertEqual(properties, {'Address': CONTROLLER, 'Vendor': 0x8086, 'Device': 0x2922, 'Driver': '',
                                      'IommuGroup': -1, 'State': rows[0]['state']}, 'these are public')

    def test_bad_addresses(self):
        for address in ('', 'nonsense', '0000:00:00', '0000:00:20.0', '../../etc'):
            self.refused('org.passthru1.Error.InvalidAddress', 'is not a PCI address', self.bus.root, 'Show', 's',
                         [address])
        self.refused('org.passthru1.Error.NoSuchDevice', ABSENT, self.bus.root, 'Show', 's', [ABSENT])

    def test_limits(self):
        for text, method, signature, arguments in (
                ('more than 64', 'Preflight', 'ass', ([ABSENT] * 65, '')),
                ('longer than 256', 'Preflight', 'ass', ([], 'g' * 257)),
                ('control characters', 'Preflight', 'ass', ([], 'a\nb')),
                ('needs a guest', 'PlanAssign', 'assasb', ([ABSENT], '', [], False)),
                ('needs a controller', 'PlanAssign', 'assasb', ([], 'nas', [], False)),
                ('needs a controller or a guest', 'PlanRelease', 'assb', ([], '', False))):
            self.refused(ARGUMENT, text, self.bus.root, method, signature, arguments)

    def test_without_polkit_only_root_may_call(self):
        user = self.bus.connect(NOBODY)
        self.refused(ACCESS_DENIED, 'polkit', user, 'List')
        self.assertTrue(self.bus.get('Version', user))

    def test_preflight_is_a_job(self):
        message, outcome = self.job_result('Preflight', 'ass', ([], ''))
        self.assertEqual(outcome['state'], 'done')
        self.assertIn(outcome['result']['verdict'], ('pass', 'info', 'warn', 'fail', 'skip'))
        self.assertEqual(message.fields.get(wire.DESTINATION), self.bus.root.name, 'the result is for the caller alone')
        self.assertFalse([path for path in self.objects() if '/job/' in path])

    def test_failed_job_tells_why(self):
        _, outcome = self.job_result('Preflight', 'ass', ([ABSENT], ''))
        self.assertEqual(outcome['state'], 'failed')
        self.assertIn(ABSENT, outcome['error']['message'])
        self.assertTrue(outcome['error']['remedy'])

    def test_assignment_of_what_is_not_there_fails(self):
        _, outcome = self.job_result('Assign', 'assasbs', ([ABSENT], 'no-such-guest', [], False, '0'))
        self.assertEqual(outcome['state'], 'failed')
        self.assertTrue(outcome['error']['message'])

    def test_calls_at_once(self):
        callers = [self.bus.connect() for _ in range(8)]
        serials = [c.send_call(NAME, PATH, MANAGER, 'List') for c in callers for _ in range(2)]
        for i, serial in enumerate(serials):
            self.assertTrue(callers[i // 2].answer(serial)[0])

    def test_list_while_a_driver_holds_the_lock(self):
        with self.bus.stuck('driver_override'):
            begin = time.monotonic()
            self.assertTrue(self.call('List'))
            self.call('Status')
            self.assertLess(time.monotonic() - begin, 5)

    def test_more_calls_than_workers(self):
        self.call('List')
        testbus.wait_for(lambda: not self.bus.workers(), 'no worker')
        with self.bus.stuck():
            serials = [self.bus.root.send_call(NAME, PATH, MANAGER, 'List') for _ in range(64)]
            testbus.wait_for(lambda: len(self.bus.workers()) >= 64, 'as many workers as there may be')
            self.refused('org.passthru1.Error.TooMany', '64 requests', self.bus.root, 'Status')
        for serial in serials:
            self.bus.root.answer(serial)
        self.assertTrue(self.call('List'))

    def test_one_daemon_at_a_time(self):
        second = self.bus.start()
        self.assertEqual(second.wait(20), 1)
        self.assertTrue(self.bus.ready())

    def test_terminates(self):
        self.bus.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.bus.daemon.wait(10), 0)

    def test_introspection_names_arguments(self):
        text, = self.bus.root.call(NAME, PATH, 'org.freedesktop.DBus.Introspectable', 'Introspect')
        for name in ('addresses', 'guest', 'accept', 'no_attach', 'digest', 'force_unplug'):
            self.assertIn(f'name="{name}"', text)

    def test_state_directory_is_private(self):
        mode = os.stat(os.path.join(self.bus.directory, 'state')).st_mode & 0o777
        self.assertEqual(mode, 0o700)


if __name__ == '__main__':
    testbus.main(__doc__)
