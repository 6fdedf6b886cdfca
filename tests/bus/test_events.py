#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""passthrud's events on a bus of its own, with a libvirt that refuses, hangs, comes and goes. Speaks TAP.

Usage: test_events.py PASSTHRUD [CASE...] (passthructl beside it). Needs root, dbus-daemon, busctl and a mount namespace of its own,
which it makes: /run is empty in it, so that no libvirt of this machine is asked."""

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/lab"))
sys.dont_write_bytecode = True

import tap  # noqa: E402

NAME, PATH = "org.passthru1", "/org/passthru1"
SOCKET = "/run/libvirt/libvirt-sock-ro"
INSIDE = "PASSTHRU_TEST_NAMESPACE"
suite = tap.Tap()

BUS_CONFIG = """<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
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
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


class Libvirt:
    """A socket where libvirt's would be. Every connection is noted, and closed at once, or never answered."""

    def __init__(self, hang):
        os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
        self.hang, self.times, self.kept = hang, [], []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(SOCKET)
        self.socket.listen(64)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            if self.hang:
                self.kept.append(connection)
            else:
                connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.socket.close()
        os.unlink(SOCKET)
        for connection in self.kept:
            connection.close()


class Daemon:
    """A bus and passthrud on it, both new."""

    def __enter__(self):
        subprocess.run(["rm", "-rf", "/run/libvirt"], check=True)
        self.directory = tempfile.TemporaryDirectory(prefix="passthru-bus-", ignore_cleanup_errors=True)
        self.path = self.directory.name
        self.address = f"unix:path={self.path}/bus"
        self.environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address, STATE_DIRECTORY=f"{self.path}/state")
        with open(f"{self.path}/bus.conf", "w", encoding="utf-8") as f:
            f.write(BUS_CONFIG.format(directory=self.path, policy=f"{TOP}/units/org.passthru1.conf"))
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={self.path}/bus.conf", "--nofork", "--nopidfile"],
                                    stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(f"{self.path}/bus"), "the bus")
        self.start()
        return self

    def __exit__(self, *_):
        for process in (self.process, self.bus):
            if process.poll() is None:
                process.terminate()
            process.wait(10)
        self.directory.cleanup()

    def start(self):
        self.log = open(f"{self.path}/log", "ab")
        self.process = subprocess.Popen([PASSTHRUD], env=self.environment, stderr=self.log)
        self.log.close()
        wait_for(self.ready, "the daemon")

    def busctl(self, *arguments):
        return subprocess.run(["busctl", f"--address={self.address}", "--json=short", *arguments], capture_output=True,
                              text=True, timeout=60, check=False)

    def ready(self):
        done = self.busctl("get-property", NAME, PATH, f"{NAME}.Manager", "State")
        return done.returncode == 0 and json.loads(done.stdout)["data"] == "ready"

    def list(self):
        """The rows, and how long it took."""
        begin = time.monotonic()
        done = self.busctl("call", NAME, PATH, f"{NAME}.Manager", "List")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return json.loads(json.loads(done.stdout)["data"][0]), time.monotonic() - begin

    def workers(self, verb):
        """Process ids of this daemon's workers."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path, encoding="utf-8") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                with open(path.replace("/stat", "/cmdline"), encoding="utf-8") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            if parent == self.process.pid and words[1:3] == ["--worker", verb]:
                found.append(int(path.split("/")[2]))
        return found

    def logged(self):
        with open(f"{self.path}/log", encoding="utf-8") as f:
            return f.read()


def exists(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def storage_controllers():
    return [path for path in glob.glob("/sys/bus/pci/devices/*/class") if open(path, encoding="ascii").read().startswith("0x01")]


@suite.case
def refused():
    """a libvirt that closes every connection is tried at growing intervals, and said once in the log"""
    with Daemon() as daemon:
        libvirt = Libvirt(hang=False)
        try:
            time.sleep(6)
            gaps = [later - earlier for earlier, later in zip(libvirt.times, libvirt.times[1:])]
            tap.say("seconds between connections: " + " ".join(f"{g:.2f}" for g in gaps))
            tap.equal(3 <= len(libvirt.times) <= 7, True, f"{len(libvirt.times)} connections in 6 s")
            tap.equal(gaps[-1] > 1.5 * gaps[-2] > 0.9, True, f"growing intervals: {gaps}")
            tap.equal(daemon.logged().count("the guests are not known for now"), 1, "lines in the log")
        finally:
            libvirt.close()


@suite.case
def appears():
    """a libvirt that comes is noticed by its socket, not by the next attempt, and its directory may be new, too"""
    with Daemon() as daemon:
        wait_for(lambda: "the guests are not known" in daemon.logged(), "the first attempt")
        time.sleep(8)  # attempts at 0.25, 0.75, 1.75, 3.75, 7.75 s; the next one would be at 15.75 s
        for _ in range(2):
            begin = time.monotonic()
            libvirt = Libvirt(hang=True)
            try:
                wait_for(lambda: libvirt.times, "a connection", 3)
                tap.say(f"connected {libvirt.times[0] - begin:.2f} s after the socket appeared")
                tap.equal(libvirt.times[0] - begin < 1, True, "within a second")
            finally:
                libvirt.close()
            os.rmdir("/run/libvirt")
            time.sleep(3)


@suite.case
def hangs():
    """a libvirt that never answers delays the first List by two seconds and the others not at all"""
    with Daemon() as daemon:
        libvirt = Libvirt(hang=True)
        try:
            # The daemon has found no libvirt at its start; a fresh one has no such hint.
            daemon.process.terminate()
            daemon.process.wait(10)
            daemon.start()
            took = []
            for _ in range(4):
                rows, seconds = daemon.list()
                took.append(seconds)
                for row in rows:
                    tap.contains(row["guests_problem"] or "", "libvirt has not answered")
            tap.say("List took " + " ".join(f"{s:.2f}" for s in took) + " s")
            tap.equal(took[0] < 3.5, True, f"the first List: {took[0]:.2f} s")
            tap.equal(max(took[1:]) < 1, True, f"the others: {took[1:]}")
            tap.equal(len(daemon.workers("watch")), 1, "workers that wait for libvirt")
            before = len(libvirt.times)
            time.sleep(1)
            tap.equal(len(libvirt.times), before, "connections while nothing happens")
        finally:
            libvirt.close()


@suite.case
def restarted():
    """a watch that is killed is started again, and every one ends with the daemon, even while libvirt hangs"""
    with Daemon() as daemon:
        libvirt = Libvirt(hang=True)
        try:
            first = wait_for(lambda: daemon.workers("watch"), "a watch")[0]
            wait_for(lambda: libvirt.times, "its connection")
            os.kill(first, signal.SIGKILL)
            begin = time.monotonic()
            second = wait_for(lambda: [p for p in daemon.workers("watch") if p != first], "another watch", 10)[0]
            tap.say(f"started again after {time.monotonic() - begin:.2f} s")
            tap.equal(daemon.ready(), True, "the daemon")
            daemon.process.kill()
            daemon.process.wait(10)
            wait_for(lambda: not exists(second), "the end of the watch after the daemon's", 2)
        finally:
            libvirt.close()


def readings_in_storm(daemon, device, seconds, period):
    """Times at which a reading began, from the first event on."""
    begin, seen, last = time.monotonic(), {}, 0
    while (now := time.monotonic() - begin) < seconds:
        if now - last >= period:
            with open(device, "w", encoding="ascii") as f:
                f.write("change")
            last = now
        for pid in daemon.workers("list"):
            seen.setdefault(pid, time.monotonic() - begin)
        time.sleep(0.002)
    return sorted(seen.values())


@suite.case
def storm():
    """a storm of device events does not put the reading off"""
    with Daemon() as daemon:
        wait_for(lambda: "the guests are not known" in daemon.logged(), "the first attempt")
        time.sleep(0.9)
        device = os.path.join(os.path.dirname(storage_controllers()[0]), "uevent")
        times = readings_in_storm(daemon, device, 3, 0.05)
        tap.say("readings began at " + " ".join(f"{t:.2f}" for t in times) + " s; an event came every 0.05 s")
        gaps = [later - earlier for earlier, later in zip([0, *times], times)]
        tap.equal(len(times) >= 4, True, f"readings: {len(times)}")
        tap.equal(max(gaps) < 1, True, f"the longest interval: {max(gaps):.2f} s")


@suite.case
def monitored():
    """monitor tells of jobs and of the daemon's end, as text and as JSON, and ends with status 0 on Ctrl-C"""
    with Daemon() as daemon:
        command = [os.path.join(os.path.dirname(PASSTHRUD), "passthructl")]
        outputs = []
        daemon.list()  # from now on its objects are there
        for options in ([], ["--json"]):
            with open(f"{daemon.path}/monitor{len(options)}", "w", encoding="utf-8") as f:
                outputs.append((subprocess.Popen([*command, *options, "monitor"], env=daemon.environment, stdout=f), f.name))
        for _, name in outputs:
            wait_for(lambda: os.path.getsize(name), "the first line")
        subprocess.run([*command, "preflight"], env=daemon.environment, stdout=subprocess.DEVNULL, check=False, timeout=60)
        daemon.process.terminate()
        daemon.process.wait(10)
        wait_for(lambda: all("ended" in open(name, encoding="utf-8").read().splitlines()[-1] for _, name in outputs),
                 "the last line")
        for process, _ in outputs:
            process.send_signal(signal.SIGINT)
            tap.equal(process.wait(5), 0, "exit status")
        text, lines = (open(name, encoding="utf-8").read() for _, name in outputs)
        tap.contains(text, "- passthrud: ready", "- job 1, preflight: running", "- job 1, preflight: ended", "- passthrud: ended")
        events = [json.loads(line) for line in lines.splitlines()]
        for event in events:
            tap.equal({"time", "address", "event", "property", "value"} <= set(event), True, f"keys of {event}")
        tap.equal([(e["event"], e["value"], e.get("kind")) for e in events],
                  [("daemon", "ready", None), ("job", "running", "preflight"), ("job", "ended", "preflight"),
                   ("daemon", "ended", None)], "events")


@suite.case
def monitor_without_daemon():
    """monitor without a daemon says so, with status 1 and nothing on stdout"""
    with Daemon() as daemon:
        daemon.process.terminate()
        daemon.process.wait(10)
        done = subprocess.run([os.path.join(os.path.dirname(PASSTHRUD), "passthructl"), "monitor"], env=daemon.environment,
                              capture_output=True, text=True, check=False, timeout=60)
        tap.equal((done.returncode, done.stdout), (1, ""), "status and output")
        tap.contains(done.stderr, "passthrud is not running", "systemctl start passthrud")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    PASSTHRUD = os.path.realpath(sys.argv.pop(1))
    suite.run()
