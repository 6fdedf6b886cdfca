# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU process that is L1: its command line, its start and its end."""
import ctypes
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from agentlink import AgentLink, LabError
from qmp import Qmp

IOMMU = {'intel': ['-device', 'intel-iommu,intremap=on'], 'amd': ['-device', 'amd-iommu,intremap=on'], 'none': []}
CMDLINE = {'intel': 'intel_iommu=on iommu=pt', 'amd': 'iommu=pt', 'none': ''}
# no_timer_check: on a busy machine the emulated timer ticks too late for a test that the kernel would panic over.
BASE_CMDLINE = ('root=/dev/vda rw no_timer_check console=ttyS0 mitigations=off panic=-1 loglevel=5 fsck.mode=skip net.ifnames=0 '
                'systemd.show_status=no systemd.mask=serial-getty@hvc0.service')


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no machine outlives its test


def arguments(run, topology, vendor, kernel, initrd, cmdline, memory, cpus):
    """The command line of QEMU; `run` has the folders share, out and sockets, and root.qcow2."""
    def own(slot, device):  # the lab's own devices, clear of the topology's slots
        return ['-device', f'{device},bus=pcie.0,addr={slot:#x}']

    line = ['qemu-system-x86_64', '-accel', 'tcg,thread=multi,tb-size=1024', '-machine', 'q35', '-cpu', 'max',
            '-smp', str(cpus), '-m', str(memory), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
            *IOMMU[vendor],
            '-kernel', str(kernel), '-initrd', str(initrd),
            '-append', ' '.join(filter(None, (BASE_CMDLINE, CMDLINE[vendor], cmdline)))]
    line += ['-chardev', f'file,id=console,path={run.console},append=on', '-serial', 'chardev:console',
             '-qmp', f'unix:{run.sockets}/qmp,server=on,wait=off',
             '-chardev', f'socket,id=agent,path={run.sockets}/agent,server=on,wait=off',
             '-chardev', f'socket,id=shell,path={run.sockets}/shell,server=on,wait=off']
    line += ['-drive', f'file={run.overlay},format=qcow2,if=none,id=root,cache=unsafe']
    line += own(0x18, 'virtio-blk-pci,drive=root')
    line += own(0x19, 'virtio-serial-pci,id=ports')
    line += ['-device', 'virtserialport,bus=ports.0,chardev=agent,name=org.lab.agent',
             '-device', 'virtconsole,bus=ports.0,chardev=shell']
    for slot, tag, folder, extra in ((0x1a, 'lab', run.share, ',readonly=on'), (0x1b, 'lab-out', run.out, '')):
        line += ['-fsdev', f'local,id={tag},path={folder},security_model=none{extra}']
        line += own(slot, f'virtio-9p-pci,fsdev={tag},mount_tag={tag}')
    return line + topology.arguments


class Machine:
    """One life of L1's QEMU, from power-on to power-off."""

    def __init__(self, command, sockets, console, log):
        for name in ('qmp', 'agent', 'shell'):
            Path(sockets, name).unlink(missing_ok=True)
        self.console = console
        self.log = log
        self.begin = time.monotonic()
        with open(log, 'ab') as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                            preexec_fn=die_with_parent)
        try:
            self._wait_socket(f'{sockets}/agent')
            self.qmp = Qmp(f'{sockets}/qmp')
            self.link = AgentLink(f'{sockets}/agent')
        except BaseException:
            self.kill()
            raise

    def _wait_socket(self, path):
        end = time.monotonic() + 30
        while not os.path.exists(path):
            if self.process.poll() is not None or time.monotonic() > end:
                raise LabError(f'QEMU did not start:\n{Path(self.log).read_text(errors="replace")[-2000:]}')
            time.sleep(0.02)
        time.sleep(0.1)

    def wait_agent(self, timeout):
        """Waits for the agent of a boot; returns the seconds since power-on."""
        end = time.monotonic() + timeout
        while self.link.hellos.empty():
            if not self.alive() or time.monotonic() > end:
                what = 'no agent within %d s' % timeout if self.alive() else 'QEMU ended'
                raise LabError(f'L1 did not boot: {what}\n{tail(self.console)}')
            time.sleep(0.05)
        self.link.hellos.get()
        return time.monotonic() - self.begin

    def alive(self):
        return self.process.poll() is None

    def why_hung(self):
        """What is known from outside of a kernel that does not answer: its console, and where its processors are."""
        said = [f'the last lines of its console:\n{tail(self.console, 15)}']
        try:
            for _ in range(2):  # twice, as a processor that moves is another matter than one that stands
                registers = self.qmp('human-monitor-command', command_line='info registers -a')
                said += [line for line in registers.splitlines() if re.match('CPU#|.IP=|RIP=', line)]
                time.sleep(1)
        except LabError as error:
            said.append(str(error))
        return '\n'.join(said)

    def kernel_complained(self):
        return re.search(r'Oops|BUG:|Kernel panic|general protection|blocked for more than', tail(self.console, 1000))

    def wait_end(self, timeout):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f'L1 did not power off within {timeout} s\n{tail(self.console)}') from None
        self.link.close()

    def kill(self):
        """The power cut: nothing in L1 gets a word."""
        if self.alive():
            self.process.kill()
        self.process.wait(30)
        if hasattr(self, 'link'):
            self.link.close()


def tail(path, count=30):
    try:
        return '\n'.join(Path(path).read_text(errors='replace').splitlines()[-count:])
    except OSError:
        return ''
