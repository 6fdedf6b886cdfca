#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""passthrud on a bus of its own: what it answers, refuses and survives. Changes nothing on the host.

Usage: test_daemon.py PASSTHRUD. Needs dbus-daemon, busctl and root.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PASSTHRUD = None
NAME = "org.passthru1"
PATH = "/org/passthru1"
MANAGER = "org.passthru1.Manager"
ABSENT = "fffe:00:00.0"

BUS_CONFIG = """<busconfig>
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
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Failure(Exception):
    """An error reply: its text, message and remedy."""


class DaemonTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="passthru-bus-")
        os.chmod(self.directory.name, 0o755)
        self.address = f"unix:path={self.directory.name}/bus"
        policy = os.path.join(os.path.dirname(__file__), "../../units/org.passthru1.conf")
        config = os.path.join(self.directory.name, "bus.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(BUS_CONFIG.format(directory=self.directory.name, policy=os.path.realpath(policy)))
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"])
        wait_for(lambda: os.path.exists(f"{self.directory.name}/bus"), "the bus")
        self.daemon = self.start()
        wait_for(self.ready, "the daemon")

    def tearDown(self):
        for process in (self.daemon, self.bus):
            if process.poll() is None:
                process.terminate()
            process.wait(10)
        self.directory.cleanup()

    def start(self, **more):
        state = os.path.join(self.directory.name, "state")
        environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address, STATE_DIRECTORY=state, **more)
        return subprocess.Popen([PASSTHRUD], env=environment)

    def busctl(self, *arguments, user=None):
        prefix = ["setpriv", f"--reuid={user}", "--clear-groups"] if user else []
        command = [*prefix, "busctl", f"--address={self.address}", "--json=short", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != 0:
            raise Failure(done.stderr.strip())
        return json.loads(done.stdout)["data"] if done.stdout.strip() else None

    def call(self, method, *arguments, user=None):
        return self.busctl("call", NAME, PATH, MANAGER, method, *arguments, user=user)[0]

    def get(self, name):
        return self.busctl("get-property", NAME, PATH, MANAGER, name)

    def ready(self):
        try:
            return self.get("State") == "ready"
        except Failure:
            return False

    def refused(self, text, method, *arguments, user=None):
        with self.assertRaises(Failure) as caught:
            self.call(method, *arguments, user=user)
        self.assertIn(text, str(caught.exception))

    def job_result(self, method, *arguments):
        """Starts a job and returns its id and what JobRemoved says of it."""
        monitor = subprocess.Popen(["busctl", f"--address={self.address}", "--json=short", "monitor", NAME],
                                   stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.5)  # busctl does not tell when it listens
            job = self.call(method, *arguments)
            for line in monitor.stdout:
                message = json.loads(line)
                if message.get("member") == "JobRemoved" and message["payload"]["data"][1] == job:
                    return message, json.loads(message["payload"]["data"][2])
        finally:
            monitor.kill()
            monitor.stdout.close()
            monitor.wait()
        return self.fail("the monitor ended")

    def objects(self):
        return self.busctl("call", NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]

    def test_list_show_and_status(self):
        rows = json.loads(self.call("List"))
        self.assertIsInstance(rows, list)
        for row in rows:
            self.assertEqual(json.loads(self.call("Show", "s", row["address"]))["address"], row["address"])
        self.assertIsInstance(json.loads(self.call("Status")), list)
        self.assertRegex(self.get("Version"), r"^\d+\.\d+")

    def test_controllers_are_objects(self):
        rows = {row["address"]: row for row in json.loads(self.call("List"))}
        found = {}
        for path, interfaces in self.objects().items():
            properties = interfaces.get("org.passthru1.Controller")
            if properties:
                address = properties["Address"]["data"]
                found[address] = properties
                self.assertEqual(path, f"{PATH}/controller/{address.replace(':', '_').replace('.', '_')}")
        self.assertEqual(set(found), set(rows))
        for address, properties in found.items():
            self.assertEqual(f"{properties['Vendor']['data']:04x}", rows[address]["vendor"])
            self.assertEqual(properties["State"]["data"], rows[address]["state"])
            self.assertLessEqual(set(properties), {"Address", "Vendor", "Device", "Driver", "IommuGroup", "State"})

    def test_bad_addresses(self):
        for address in ("", "nonsense", "0000:00:00", "0000:00:20.0", "../../etc"):
            self.refused("is not a PCI address", "Show", "s", address)
        self.refused(ABSENT, "Show", "s", ABSENT)

    def test_limits(self):
        self.refused("more than 64", "Preflight", "ass", "65", *[ABSENT] * 65, "")
        self.refused("longer than 256", "Preflight", "ass", "0", "g" * 257)
        self.refused("needs a guest", "PlanAssign", "assasb", "1", ABSENT, "", "0", "false")
        self.refused("needs a controller", "PlanAssign", "assasb", "0", "nas", "0", "false")
        self.refused("needs a controller or a guest", "PlanRelease", "assb", "0", "", "false")

    def test_only_root_may_call(self):
        calls = {
            "List": (), "Status": (), "Show": ("s", ABSENT), "Preflight": ("ass", "0", ""),
            "PlanAssign": ("assasb", "1", ABSENT, "nas", "0", "false"), "PlanRelease": ("assb", "1", ABSENT, "", "false"),
            "Assign": ("assasbs", "1", ABSENT, "nas", "0", "false", "0"),
            "Release": ("assbs", "1", ABSENT, "", "false", "0"),
        }
        for method, arguments in calls.items():
            self.refused("Access denied", method, *arguments, user=65534)
        self.assertTrue(self.busctl("get-property", NAME, PATH, MANAGER, "Version", user=65534))

    def test_unknown_methods_are_denied(self):
        self.refused("Access denied", "Format")
        with self.assertRaises(Failure):
            self.busctl("set-property", NAME, PATH, MANAGER, "Version", "s", "2")

    def test_preflight_is_a_job(self):
        message, outcome = self.job_result("Preflight", "ass", "0", "")
        self.assertEqual(outcome["state"], "done")
        self.assertIn(outcome["result"]["verdict"], ("pass", "info", "warn", "fail", "skip"))
        self.assertTrue(message["destination"].startswith(":"), "the result is for the caller alone")
        self.assertFalse([path for path in self.objects() if "/job/" in path])

    def test_failed_job_tells_why(self):
        _, outcome = self.job_result("Preflight", "ass", "1", ABSENT, "")
        self.assertEqual(outcome["state"], "failed")
        self.assertIn(ABSENT, outcome["error"]["message"])
        self.assertTrue(outcome["error"]["remedy"])

    def test_assignment_of_what_is_not_there_fails(self):
        _, outcome = self.job_result("Assign", "assasbs", "1", ABSENT, "no-such-guest", "0", "false", "0")
        self.assertEqual(outcome["state"], "failed")
        self.assertTrue(outcome["error"]["message"])

    def test_calls_at_once(self):
        command = ["busctl", f"--address={self.address}", "call", NAME, PATH, MANAGER, "List"]
        calls = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(8)]
        self.assertEqual([c.wait(60) for c in calls], [0] * 8)

    def test_one_daemon_at_a_time(self):
        second = self.start()
        self.assertEqual(second.wait(20), 1)
        self.assertTrue(self.ready())

    def test_terminates(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.wait(10), 0)

    def test_introspection_names_arguments(self):
        text = self.busctl("call", NAME, PATH, "org.freedesktop.DBus.Introspectable", "Introspect")[0]
        for name in ("addresses", "guest", "accept", "no_attach", "digest", "force_unplug"):
            self.assertIn(f'name="{name}"', text)

    def test_state_directory_is_private(self):
        mode = os.stat(os.path.join(self.directory.name, "state")).st_mode & 0o777
        self.assertEqual(mode, 0o700)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PASSTHRUD = os.path.realpath(sys.argv.pop(1))
    unittest.main()
