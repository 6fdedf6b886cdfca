# SPDX-License-Identifier: GPL-2.0-or-later
"""L0's end of the agent in L1: runs commands over the unix socket of the virtio-serial port."""
import base64
import json
import queue
import socket
import sys
import threading
import time


class LabError(Exception):
    """Something of the lab itself failed, or a deadline passed."""


class HungHost(LabError):
    """L1 as a whole does not answer any more."""


class CommandError(LabError):
    """A command in L1 ended with another status than 0."""


class Result(tuple):
    """(rc, out) of a command in L1, with .rc, .out and .err."""

    def __new__(cls, rc, out, err):
        self = super().__new__(cls, (rc, out))
        self.rc, self.out, self.err = rc, out, err
        return self


class Job:
    """A command that runs in L1."""

    def __init__(self, link, number, name, stream):
        self.link, self.number, self.name, self.stream = link, number, name, stream
        self.rc = None
        self.data = {1: b'', 2: b''}
        self.done = threading.Event()

    @property
    def out(self):
        return self.data[1].decode(errors='replace')

    @property
    def err(self):
        return self.data[2].decode(errors='replace')

    def take(self, message):
        if 'exit' in message:
            self.rc = message['exit']
            self.done.set()
            return
        chunk = base64.b64decode(message['data'])
        self.data[message['fd']] += chunk
        if self.stream:
            sys.stdout.write(chunk.decode(errors='replace'))
            sys.stdout.flush()

    def kill(self):
        self.link.send(id=self.number, op='kill')

    def wait(self, timeout=60, check=False):
        if not self.done.wait(timeout):
            self.kill()
            self.done.wait(5)
            kind = LabError if self.link.answers() else HungHost
            raise kind(f'no end of "{self.name}" after {timeout} s\n{self.out}{self.err}')
        if self.rc is None:
            raise LabError(f'L1 ended while it ran "{self.name}"\n{self.out}{self.err}')
        if check and self.rc != 0:
            raise CommandError(f'"{self.name}" ended with status {self.rc}\n{self.out}{self.err}')
        return Result(self.rc, self.out, self.err)

    def wait_output(self, text, timeout=60):
        end = time.monotonic() + timeout
        while text not in self.out:
            if self.done.is_set() or time.monotonic() > end:
                raise LabError(f'"{self.name}" did not say "{text}" within {timeout} s\n{self.out}{self.err}')
            time.sleep(0.05)


class AgentLink:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.hellos = queue.Queue()
        self.jobs = {}
        self.last = 0
        self.lock = threading.Lock()
        self.alive = True
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        pending = b''
        try:
            while chunk := self.socket.recv(1 << 20):
                *lines, pending = (pending + chunk).split(b'\n')
                for line in lines:
                    self._handle(line)
        except OSError:
            pass
        self.alive = False
        self._end_jobs()

    def _end_jobs(self):
        for job in list(self.jobs.values()):
            job.done.set()

    def _handle(self, line):
        try:
            message = json.loads(line)
        except ValueError:  # half a line of a boot that was cut
            return
        if 'hello' in message:
            self._end_jobs()
            self.hellos.put(message['hello'])
            return
        job = self.jobs.get(message['id'])
        if job:
            job.take(message)
            if job.done.is_set():
                self.jobs.pop(message['id'], None)

    def send(self, **message):
        with self.lock:
            try:
                self.socket.sendall(json.dumps(message).encode() + b'\n')
            except OSError as error:
                raise LabError(f'L1 is gone: {error}') from None

    def start(self, argv, env=None, stdin=b'', stream=False):
        with self.lock:
            self.last += 1
            number = self.last
        job = Job(self, number, ' '.join(argv[2:] if argv[:2] == ['sh', '-c'] else argv), stream)
        self.jobs[number] = job
        if isinstance(stdin, str):
            stdin = stdin.encode()
        self.send(id=number, op='run', argv=argv, env=env or {}, stdin=base64.b64encode(stdin).decode())
        return job

    def answers(self, timeout=60):
        """Whether L1 still runs a command that does nothing."""
        return self.start(['true']).done.wait(timeout)

    def close(self):
        self.socket.close()
