#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in L1: gives L2 one command over its serial console and prints what it said; ends with the command's status.

usage: l2-command.py DOMAIN ID SECONDS    with the command, one line, on stdin"""
import os
import re
import subprocess
import sys
import time
import tty


def main():
    domain, number, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    command = sys.stdin.read().strip()
    if '\n' in command or len(command) > 3900:
        sys.exit('a command for L2 is one line of at most 3900 characters')
    console = subprocess.run(['virsh', 'ttyconsole', domain], capture_output=True, text=True, check=True,
                             timeout=30).stdout.strip()
    log = f'/var/log/libvirt/qemu/{domain}-serial.log'
    end = time.monotonic() + seconds
    begin = os.path.getsize(log)
    pty = os.open(console, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(pty)
    os.write(pty, f'{number} {command}\n'.encode())
    mark = re.compile(rf'^L2: done {number} (\d+)\r?$'.encode(), re.M)
    while time.monotonic() < end:
        try:
            os.read(pty, 65536)         # the log has it; an unread pty would fill
        except BlockingIOError:
            pass
        with open(log, 'rb') as f:
            f.seek(begin)
            said = f.read()
        if match := mark.search(said):
            sys.stdout.write(said[:match.start()].decode(errors='replace').replace('\r\n', '\n'))
            sys.exit(int(match.group(1)))
        time.sleep(0.1)
    sys.exit(f'L2 did not end "{command}" within {seconds:.0f} s; its console:\n{said.decode(errors="replace")}')


if __name__ == '__main__':
    main()
