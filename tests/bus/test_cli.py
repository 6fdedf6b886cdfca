#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""passthructl of an unprivileged user: what it says when it is denied, and when it has a password asked for.

usage: test_cli.py PASSTHRUD [TEST]; passthructl is beside it."""
import json
import os
import shutil
import signal
import subprocess
import sys

import testbus
from testbus import ABSENT, CHALLENGE, NO, NOBODY, YES, wait_for

AGENT = """#!/bin/bash
echo "$$ $*" >> "${0%/*}/agents"
fd=${1#--notify-fd=}
exec {fd}>&-
exec sleep 60
"""
SSH = """#!/bin/sh
exec systemd-stdio-bridge -p "$DBUS_SYSTEM_BUS_ADDRESS"
"""


def lives(pid):
    """False also when it has ended and nobody has asked for its status."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def interruptible():
    """As from a terminal: what a shell starts in the background ignores SIGINT, and so would all below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class CliTest(testbus.Case):
    def setUp(self):
        super().setUp()
        self.polkit = testbus.FakePolkit(self.bus)
        self.addCleanup(self.polkit.close)
        self.bin = os.path.join(self.bus.directory, 'bin')
        os.mkdir(self.bin)
        os.chmod(self.bin, 0o777)
        shutil.copy(os.path.join(os.path.dirname(os.path.realpath(sys.argv[1])), 'passthructl'), self.bin)
        for name, text in (('pkttyagent', AGENT), ('ssh', SSH)):
            path = os.path.join(self.bin, name)
            with open(path, 'w', encoding='ascii') as f:
                f.write(text)
            os.chmod(path, 0o755)

    def start(self, *arguments, terminal=False, user=NOBODY, path=':/usr/bin:/bin'):
        """Starts it; what it writes on the terminal is read from the descriptor .terminal."""
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address, LC_ALL='C.UTF-8',
                           PATH=self.bin + path)
        ours, theirs = os.openpty() if terminal else (None, None)
        process = subprocess.Popen([os.path.join(self.bin, 'passthructl'), *arguments], env=environment, text=True,
                                   stdin=theirs if terminal else subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=theirs if terminal else subprocess.PIPE, user=user, group=user,
                                   extra_groups=[], preexec_fn=interruptible)
        if terminal:
            os.close(theirs)
        process.terminal = ours
        return process

    def end(self, process):
        """Its exit status, standard output and standard error."""
        out, err = process.communicate(timeout=60)
        if process.terminal is not None:
            err = b''
            try:
                while data := os.read(process.terminal, 4096):
                    err += data
            except OSError:
                pass  # a terminal that nobody has open any more
            os.close(process.terminal)
            err = err.decode().replace('\r\n', '\n')
        return process.returncode, out, err

    def run_it(self, *arguments, **more):
        return self.end(self.start(*arguments, **more))

    def agents(self):
        try:
            with open(os.path.join(self.bin, 'agents'), encoding='ascii') as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def test_denied(self):
        status, out, err = self.run_it('list')
        self.assertEqual((status, out), (1, ''))
        self.assertIn('permission denied: org.passthru1.inspect is not allowed to you by polkit', err)
        self.assertIn('sudo', err)
        self.assertEqual(self.polkit.checks[-1].flags, 0)
        self.assertEqual(self.agents(), [])

    def test_denied_change_names_its_objects(self):
        status, out, err = self.run_it('release', ABSENT)
        self.assertEqual((status, out), (1, ''))
        self.assertIn(f'org.passthru1.inspect for {ABSENT}', err)

    def test_denied_as_json(self):
        status, out, err = self.run_it('--json', 'status')
        self.assertEqual((status, out), (1, ''))
        error = json.loads(err)['error']
        self.assertEqual(error['name'], 'permission-denied')
        self.assertIn('org.passthru1.inspect', error['message'])
        self.assertIn('sudo', error['remedy'])

    def test_allowed(self):
        self.polkit.judge = lambda check: YES
        status, out, err = self.run_it('list')
        self.assertEqual((status, err), (0, ''))
        self.assertIn(testbus.CONTROLLER, out)

    def test_a_script_cannot_type_a_password(self):
        self.polkit.judge = lambda check: CHALLENGE
        status, _, err = self.run_it('list')
        self.assertEqual(status, 1)
        self.assertIn('needs a password', err)
        self.assertIn('run it on a terminal', err)

    def test_a_terminal_gets_an_agent(self):
        self.polkit.judge = lambda check: None
        process = self.start('list', terminal=True)
        wait_for(lambda: self.polkit.checks, 'the question')
        self.assertEqual(self.polkit.checks[0].flags, 1)
        agent, = self.agents()
        pid, arguments = agent.split(' ', 1)
        self.assertRegex(arguments, r'^--notify-fd=\d+ --fallback$')
        self.assertTrue(lives(pid))
        self.polkit.answer(self.polkit.checks[0], YES)
        status, out, err = self.end(process)
        self.assertEqual((status, err), (0, ''))
        self.assertIn(testbus.CONTROLLER, out)
        self.assertFalse(lives(pid), 'the agent ends with it')

    def test_a_terminal_without_an_agent(self):
        os.unlink(os.path.join(self.bin, 'pkttyagent'))
        self.polkit.judge = lambda check: CHALLENGE if check.flags else NO
        status, out, err = self.run_it('list', terminal=True, path='')
        self.assertEqual((status, out), (1, ''))
        self.assertIn('no polkit agent', err)

    def test_interrupted_while_asked(self):
        self.polkit.judge = lambda check: None
        process = self.start('list', terminal=True)
        wait_for(lambda: self.polkit.checks, 'the question')
        process.send_signal(signal.SIGINT)
        self.end(process)
        wait_for(lambda: self.polkit.cancelled, 'the question is withdrawn')
        agent, = self.agents()
        wait_for(lambda: not lives(agent.split()[0]), 'the agent ends with it')

    def test_root_needs_no_agent(self):
        status, _, _ = self.run_it('list', terminal=True, user=0)
        self.assertEqual(status, 0)
        self.assertEqual((self.agents(), self.polkit.checks), ([], []))

    def test_another_host_has_no_agent(self):
        self.polkit.judge = lambda check: CHALLENGE
        status, out, err = self.run_it('-H', 'somewhere', 'list', terminal=True)
        self.assertEqual((status, out), (1, ''))
        self.assertIn('org.passthru1.inspect', err)
        self.assertIn('no polkit agent', err)
        self.assertIn('-H root@HOST', err)
        self.assertEqual((self.agents(), self.polkit.checks[-1].flags), ([], 0))

    def test_without_polkit(self):
        self.polkit.close()
        status, out, err = self.run_it('list')
        self.assertEqual((status, out), (1, ''))
        self.assertIn('no polkit here', err)
        self.assertIn('sudo', err)


if __name__ == '__main__':
    testbus.main(__doc__)
