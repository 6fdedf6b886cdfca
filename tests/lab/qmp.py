# SPDX-License-Identifier: GPL-2.0-or-later
"""A small client of QEMU's monitor protocol."""
import json
import socket

from agentlink import LabError


class Qmp:
    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.file = self.socket.makefile('rb')
        self.events = []
        self._read()
        self('qmp_capabilities')

    def _read(self):
        line = self.file.readline()
        if not line:
            raise LabError("QEMU's monitor is closed")
        return json.loads(line)

    def __call__(self, command, **arguments):
        request = {'execute': command}
        if arguments:
            request['arguments'] = {key.replace('_', '-'): value for key, value in arguments.items()}
        try:
            self.socket.sendall(json.dumps(request).encode() + b'\n')
            while True:
                answer = self._read()
                if 'return' in answer:
                    return answer['return']
                if 'error' in answer:
                    raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
                self.events.append(answer)
        except OSError as error:
            raise LabError(f'QEMU does not answer to {command}: {error}') from None

    def close(self):
        self.file.close()
        self.socket.close()
