#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent inside L1: runs commands for L0 over a virtio-serial port, several at once, and streams what they say.

Requests and answers are one JSON object a line:
  {"id": 1, "op": "run", "argv": [...], "env": {...}, "stdin": base64}   {"id": 1, "op": "kill"}
  {"hello": boot id}   {"id": 1, "fd": 1, "data": base64}   {"id": 1, "exit": status}
"""
import base64
import json
import os
import signal
import subprocess
import threading
import time

PORT = '/dev/virtio-ports/org.lab.agent'


class Agent:
    def __init__(self, port):
        self.port = port
        self.lock = threading.Lock()
        self.running = {}

    def send(self, **message):
        data = json.dumps(message).encode() + b'\n'
        with self.lock:
            while data:
                data = data[os.write(self.port, data):]

    def pump(self, job, number, stream):
        while chunk := os.read(stream.fileno(), 65536):
            self.send(id=job, fd=number, data=base64.b64encode(chunk).decode())

    def run(self, job, request):
        try:
            process = subprocess.Popen(request['argv'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, cwd='/root', start_new_session=True,
                                       env=dict(os.environ, **request.get('env', {})))
        except OSError as error:
            self.send(id=job, fd=2, data=base64.b64encode(str(error).encode()).decode())
            self.send(id=job, exit=127)
            return
        self.running[job] = process
        pumps = [threading.Thread(target=self.pump, args=(job, number, stream), daemon=True)
                 for number, stream in ((1, process.stdout), (2, process.stderr))]
        for pump in pumps:
            pump.start()
        try:
            process.stdin.write(base64.b64decode(request.get('stdin', '')))
            process.stdin.close()
        except OSError:
            pass
        status = process.wait()
        for pump in pumps:  # a daemon that the command left behind may hold the pipes for ever
            pump.join(timeout=0.5)
        del self.running[job]
        self.send(id=job, exit=status)

    def serve(self):
        with open('/proc/sys/kernel/random/boot_id') as f:
            self.send(hello=f.read().strip())
        pending = b''
        while True:
            chunk = os.read(self.port, 65536)
            if not chunk:  # nobody is connected on L0
                time.sleep(0.1)
                continue
            *lines, pending = (pending + chunk).split(b'\n')
            for line in lines:
                self.handle(json.loads(line))

    def handle(self, request):
        job = request['id']
        if request['op'] == 'run':
            threading.Thread(target=self.run, args=(job, request), daemon=True).start()
        elif request['op'] == 'kill' and job in self.running:
            try:
                os.killpg(self.running[job].pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def main():
    while not os.path.exists(PORT):
        time.sleep(0.1)
    Agent(os.open(PORT, os.O_RDWR)).serve()


if __name__ == '__main__':
    main()
