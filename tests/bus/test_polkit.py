#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may call what: polkit allows, denies, asks, is slow, dies or is not there.

usage: test_polkit.py PASSTHRUD [TEST]"""
import json
import signal
import time
import xml.etree.ElementTree

import testbus
import wire
from testbus import ABSENT, ACCESS_DENIED, CHALLENGE, DISMISSED, MANAGER, NAME, NO, NOBODY, PATH, TOP, YES, wait_for

INTERACTION = 'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired'
CALLS = {
    'List': ('inspect', '', ()),
    'Show': ('inspect', 's', (ABSENT,)),
    'Status': ('inspect', '', ()),
    'Preflight': ('inspect', 'ass', ([], '')),
    'PlanAssign': ('inspect', 'assasb', ([ABSENT], 'nas', [], False)),
    'PlanRelease': ('inspect', 'assb', ([ABSENT], '', False)),
    'Assign': ('assign', 'assasbs', ([ABSENT], 'nas', [], False, '0')),
    'Release': ('release', 'assbs', ([ABSENT], '', False, '0')),
}
ASSIGN = ('Assign', *CALLS['Assign'][1:])


def methods(bus):
    text, = bus.root.call(NAME, PATH, 'org.freedesktop.DBus.Introspectable', 'Introspect')
    interfaces = xml.etree.ElementTree.fromstring(text).findall('interface')
    return [m.get('name') for i in interfaces if i.get('name') == MANAGER for m in i.findall('method')]


class PolkitTest(testbus.Case):
    def setUp(self):
        super().setUp()
        self.polkit = testbus.FakePolkit(self.bus)
        self.addCleanup(self.polkit.close)
        self.user = self.bus.connect(NOBODY)

    def send(self, connection, method, signature='', arguments=(), flags=0):
        return connection.send_call(NAME, PATH, MANAGER, method, signature, arguments, flags)

    def call(self, method, signature='', arguments=(), flags=0):
        return self.user.answer(self.send(self.user, method, signature, arguments, flags))[0]

    def wait_for_checks(self, n):
        wait_for(lambda: len(self.polkit.checks) >= n, f'question {n} to polkit')

    def hold(self):
        self.polkit.judge = lambda check: None

    def job_end(self, job):
        end = None
        while not end:
            message = self.user.receive(30)
            self.assertTrue(message, 'JobRemoved')
            if message.fields.get(wire.MEMBER) == 'JobRemoved' and message.arguments()[1] == job:
                end = json.loads(message.arguments()[2])
        return end

    def test_denied_by_the_action_of_each_method(self):
        self.assertEqual(sorted(CALLS), sorted(methods(self.bus)), 'a method that this test does not know')
        for method, (action, signature, arguments) in CALLS.items():
            text = self.refused(ACCESS_DENIED, f'org.passthru1.{action}', self.user, method, signature, arguments)
            self.assertIn('\nrun it as root', text)
            self.assertEqual(self.polkit.checks[-1].action, f'org.passthru1.{action}')
        self.assertEqual(len(self.polkit.checks), len(CALLS))

    def test_the_policy_file_defines_the_actions(self):
        policy = xml.etree.ElementTree.parse(f'{TOP}/rules/org.passthru1.policy')
        defaults = {a.get('id'): {d.tag: d.text for d in a.find('defaults')} for a in policy.findall('action')}
        self.assertEqual(set(defaults), {f'org.passthru1.{a}' for a in ('inspect', 'assign', 'release', 'bench')})
        self.assertEqual(defaults['org.passthru1.inspect']['allow_active'], 'yes')
        for action in ('assign', 'release'):
            self.assertEqual(set(defaults[f'org.passthru1.{action}'].values()), {'auth_admin'})

    def test_allowed(self):
        self.polkit.judge = lambda check: YES if check.action.endswith('.inspect') else NO
        self.assertIsInstance(json.loads(self.call('List')), list)
        self.assertIsInstance(json.loads(self.call('Status')), list)
        self.assertEqual(self.job_end(self.call('Preflight', 'ass', ([], '')))['state'], 'done')
        self.refused(ACCESS_DENIED, 'org.passthru1.assign', self.user, *ASSIGN)

    def test_an_allowed_change_is_planned_again(self):
        self.polkit.judge = lambda check: YES
        end = self.job_end(self.call(*ASSIGN))
        self.assertEqual(end['state'], 'failed', 'the address does not exist, the digest is of no plan')

    def test_each_call_is_asked_for(self):
        self.polkit.judge = lambda check: YES if len(self.polkit.checks) == 1 else NO
        self.call('List')
        self.refused(ACCESS_DENIED, 'org.passthru1.inspect', self.user, 'List')

    def test_root_is_not_asked_for(self):
        self.bus.root.call(NAME, PATH, MANAGER, 'List')
        self.assertEqual(self.polkit.checks, [])

    def test_the_question_names_the_objects(self):
        self.refused(ACCESS_DENIED, f'{ABSENT}, fffe:00:00.1 and guest nas', self.user, 'Assign', 'assasbs',
                     ([ABSENT, 'fffe:00:00.1'], 'nas', [], False, '0'))
        check = self.polkit.checks[-1]
        self.assertEqual(check.subject, ('system-bus-name', {'name': self.user.name}))
        self.assertEqual(check.details['controllers'], f'{ABSENT}, fffe:00:00.1')
        self.assertEqual(check.details['guest'], 'nas')
        self.assertIn('$(controllers)', check.details['polkit.message'])
        self.assertIn('$(guest)', check.details['polkit.message'])
        self.assertEqual(set(check.details), {'controllers', 'guest', 'polkit.message'})
        self.refused(ACCESS_DENIED, 'for guest nas', self.user, 'Release', 'assbs', ([], 'nas', False, '0'))
        self.assertEqual(set(self.polkit.checks[-1].details), {'guest', 'polkit.message'})
        calm = self.polkit.checks[-1].details['polkit.message']
        self.refused(ACCESS_DENIED, 'for guest nas', self.user, 'Release', 'assbs', ([], 'nas', True, '0'))
        self.assertEqual(self.polkit.checks[-1].details['force-unplug'], 'yes')
        self.assertNotEqual(self.polkit.checks[-1].details['polkit.message'], calm)
        self.refused(ACCESS_DENIED, 'for', self.user, 'Assign', 'assasbs', ([ABSENT], 'nas', ['a-b', 'c-d'], False, '0'))
        self.assertEqual(self.polkit.checks[-1].details['accept'], 'a-b, c-d')
        self.refused(ACCESS_DENIED, ABSENT, self.user, 'Show', 's', (ABSENT,))
        self.assertEqual(set(self.polkit.checks[-1].details), {'controllers', 'polkit.message'})
        self.assertNotIn('$(guest)', self.polkit.checks[-1].details['polkit.message'])
        self.refused(ACCESS_DENIED, 'inspect', self.user, 'List')
        self.assertEqual(set(self.polkit.checks[-1].details), {'polkit.message'})

    def test_a_rule_for_one_guest(self):
        self.polkit.judge = lambda check: YES if check.details.get('guest') == 'nas' else NO
        self.job_end(self.call(*ASSIGN))
        self.refused(ACCESS_DENIED, 'guest nas2', self.user, 'Assign', 'assasbs', ([ABSENT], 'nas2', [], False, '0'))

    def test_a_password_is_asked_for_when_the_caller_wants_it(self):
        self.polkit.judge = lambda check: CHALLENGE
        self.refused(INTERACTION, 'needs a password\nrun it on a terminal', self.user, *ASSIGN)
        self.assertEqual(self.polkit.checks[-1].flags, 0)
        self.refused(INTERACTION, 'no polkit agent', self.user, *ASSIGN, flags=wire.INTERACTIVE)
        self.assertEqual(self.polkit.checks[-1].flags, 1)
        self.polkit.judge = lambda check: DISMISSED
        self.refused(ACCESS_DENIED, 'dismissed', self.user, *ASSIGN, flags=wire.INTERACTIVE)

    def test_others_are_answered_while_polkit_thinks(self):
        self.hold()
        serial = self.send(self.user, *ASSIGN, flags=wire.INTERACTIVE)
        self.wait_for_checks(1)
        self.bus.root.call(NAME, PATH, MANAGER, 'List', seconds=20)
        self.assertTrue(self.bus.get('Version', self.user))
        self.polkit.answer(self.polkit.checks[0], NO)
        with self.assertRaises(wire.BusError):
            self.user.answer(serial)

    def test_the_question_is_withdrawn_when_the_caller_leaves(self):
        self.hold()
        for caller in [self.bus.connect(NOBODY) for _ in range(3)]:
            asked = len(self.polkit.checks)
            self.send(caller, *ASSIGN, flags=wire.INTERACTIVE)
            self.wait_for_checks(asked + 1)
            caller.close()
        wait_for(lambda: len(self.polkit.cancelled) == 3, 'the questions are withdrawn')
        self.assertEqual([c.cancellation for c in self.polkit.checks], self.polkit.cancelled)
        self.assertEqual(len(set(self.polkit.cancelled)), 3)
        for check in self.polkit.checks:
            self.polkit.answer(check, YES)  # too late
        self.bus.root.call(NAME, PATH, MANAGER, 'List')
        self.assertNotIn('/job/', str(self.bus.root.call(NAME, PATH, 'org.freedesktop.DBus.ObjectManager',
                                                         'GetManagedObjects')))

    def test_conditions_are_judged_after_the_authorization(self):
        self.hold()
        first, second = (self.send(self.user, *ASSIGN) for _ in range(2))
        self.wait_for_checks(2)
        with self.bus.stuck():
            for check in self.polkit.checks:
                self.polkit.answer(check, YES)
            self.assertIn('/job/', self.user.answer(first)[0])
            with self.assertRaises(wire.BusError) as caught:
                self.user.answer(second)
            self.assertEqual(caught.exception.name, 'org.passthru1.Error.Busy')

    def test_an_authorization_is_for_its_own_call(self):
        """Another call is already in the daemon's queue when the answer comes, so it is dispatched first."""
        self.hold()
        self.send(self.user, *ASSIGN)
        self.wait_for_checks(1)
        self.bus.daemon.send_signal(signal.SIGSTOP)
        other = self.bus.connect(1)
        self.send(other, 'List')  # for it the daemon asks the bus, and reads what follows into its queue
        other.call(wire.BUS, '/org/freedesktop/DBus', wire.BUS, 'GetId')
        self.polkit.answer(self.polkit.checks[0], YES)
        time.sleep(0.2)
        self.send(self.user, 'Assign', 'assasbs', ([ABSENT], 'nas2', [], False, '0'))
        time.sleep(0.2)
        self.bus.daemon.send_signal(signal.SIGCONT)
        self.wait_for_checks(3)
        self.assertEqual([c.details.get('guest') for c in self.polkit.checks], ['nas', None, 'nas2'])

    def test_one_user_cannot_fill_the_queue(self):
        self.hold()
        callers = [self.bus.connect(NOBODY) for _ in range(4)]
        for caller in callers:
            for _ in range(5):
                self.send(caller, 'List')
        self.wait_for_checks(16)
        answers = []
        for caller in callers:
            while message := caller.receive(0.3):
                answers.append(message.fields.get(wire.ERROR_NAME))
        self.assertEqual([a for a in answers if a], ['org.passthru1.Error.TooMany'] * 4)
        other = self.bus.connect(1)  # "daemon" on every Debian
        self.send(other, 'List')
        self.wait_for_checks(17)
        self.bus.root.call(NAME, PATH, MANAGER, 'List')

    def test_one_user_cannot_take_all_workers(self):
        self.polkit.judge = lambda check: YES
        self.bus.root.call(NAME, PATH, MANAGER, 'List')
        wait_for(lambda: not self.bus.workers(), 'no worker')
        with self.bus.stuck():
            callers = [self.bus.connect(NOBODY) for _ in range(16)]
            serials = [(c, self.send(c, 'List')) for c in callers]
            wait_for(lambda: len(self.bus.workers()) == 16, 'the workers of one user')
            for method in ('List', 'Status', 'Preflight', 'PlanRelease', 'Assign'):
                self.refused('org.passthru1.Error.TooMany', '16 of them yours', self.user, method, *CALLS[method][1:])
            serials.append((self.bus.root, self.bus.root.send_call(NAME, PATH, MANAGER, 'List')))
            other = self.bus.connect(1)
            serials.append((other, self.send(other, 'List')))
            wait_for(lambda: len(self.bus.workers()) == 18, 'the workers of others')
        for connection, serial in serials:
            self.assertTrue(connection.answer(serial)[0])

    def test_malformed_calls_are_not_asked_for(self):
        error = 'org.passthru1.Error.Invalid'
        self.polkit.judge = lambda check: YES
        self.refused('org.freedesktop.DBus.Error.InvalidArgs', 'types', self.user, 'Assign', 'as', ([ABSENT],))
        self.refused(error + 'Address', 'not a PCI address', self.user, 'Show', 's', ('../../etc',))
        self.refused(error + 'Argument', 'longer than 256', self.user, 'Preflight', 'ass', ([], 'g' * 257))
        self.refused(error + 'Argument', 'more than 64', self.user, 'Preflight', 'ass', ([ABSENT] * 65, ''))
        for name in ('nas\nand everything else', 'a\x1b[2J', 'a\x7f', 'a\u0085', 'a\u202eb', 'a\u2066b', 'a\u2028b'):
            self.refused(error + 'Argument', 'control characters', self.user, 'Assign', 'assasbs',
                         ([ABSENT], name, [], False, '0'))
        self.assertEqual(self.polkit.checks, [])
        self.refused('org.passthru1.Error.NotAssigned', 'Gast – 客', self.user, 'PlanRelease', 'assb',
                     ([], 'Gast – 客', False))

    def test_unknown_calls_are_denied_to_all(self):
        self.polkit.judge = lambda check: YES
        for connection in (self.user, self.bus.root):
            self.refused(ACCESS_DENIED, 'no call', connection, 'Format')
            for path, interface, member in ((PATH + '/job/1', MANAGER, 'List'), (PATH, 'org.passthru1.Job', 'List'),
                                            (PATH, testbus.PROPERTIES, 'Set')):
                with self.assertRaises(wire.BusError) as caught:
                    connection.call(NAME, path, interface, member)
                self.assertEqual(caught.exception.name, ACCESS_DENIED)
        self.assertEqual(self.polkit.checks, [])

    def test_a_polkit_that_fails_denies(self):
        self.polkit.judge = lambda check: self.polkit.connection.reply_error(check.message, 'a.b.Broken', 'out of ink')
        self.refused(ACCESS_DENIED, 'out of ink', self.user, *ASSIGN)
        self.polkit.judge = lambda check: self.polkit.connection.reply(check.message, 's', ['yes'])
        self.refused(ACCESS_DENIED, 'cannot be read', self.user, *ASSIGN)
        self.hold()
        serial = self.send(self.user, *ASSIGN)
        self.wait_for_checks(3)
        self.polkit.close()
        with self.assertRaises(wire.BusError) as caught:
            self.user.answer(serial)
        self.assertEqual(caught.exception.name, ACCESS_DENIED)

    def test_without_polkit_only_root_may(self):
        self.polkit.close()
        for method, (_, signature, arguments) in CALLS.items():
            self.refused(ACCESS_DENIED, 'no polkit', self.user, method, signature, arguments)
        self.bus.root.call(NAME, PATH, MANAGER, 'List')

    def test_the_end_of_the_daemon_withdraws_the_questions(self):
        self.hold()
        serials = [self.send(self.user, *ASSIGN, flags=wire.INTERACTIVE) for _ in range(3)]
        self.wait_for_checks(3)
        self.bus.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.bus.daemon.wait(10), 0)
        wait_for(lambda: len(self.polkit.cancelled) == 3, 'the questions are withdrawn')
        for serial in serials:
            with self.assertRaises(wire.BusError):
                self.user.answer(serial)


if __name__ == '__main__':
    testbus.main(__doc__)
