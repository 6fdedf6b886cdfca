# SPDX-License-Identifier: GPL-2.0-or-later
"""L2: a NAS guest inside L1, under L1's KVM and libvirt."""
import re
import subprocess
import time

from agentlink import LabError
from image import HERE

PORT = "    <controller type='pci' index='{}' model='pcie-root{}'/>"
# The emulated AHCI controllers are conventional PCI devices: libvirt plugs them into such a bridge only.
BRIDGE = "    <controller type='pci' model='pcie-to-pci-bridge'/>"
IMAGES = '/var/lib/libvirt/images'
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='no'>
  <source><address domain='0x{0}' bus='0x{1}' slot='0x{2}' function='0x{3}'/></source>
  <rom bar='off'/>
</hostdev>"""
DISK_LINE = re.compile(r'^L2: disk (\S+) serial=(\S*) size=(\d+) transport=(\S*)', re.M)


def hostdev(address):
    """libvirt's XML for one PCI device."""
    return HOSTDEV.format(*re.split('[:.]', address))


def init_archive(folder, script):
    """A cpio with L2's /init, and its /script if there is one."""
    tree = folder / 'l2-init'
    tree.mkdir(exist_ok=True)
    (tree / 'init').write_bytes((HERE / 'l2guest/init').read_bytes())
    (tree / 'init').chmod(0o755)
    (tree / 'script').unlink(missing_ok=True)
    names = 'init'
    if script is not None:
        (tree / 'script').write_text(script)
        names = 'init\nscript'
    return subprocess.run(['cpio', '-o', '-H', 'newc', '--quiet', '--owner=0:0'], cwd=tree, input=names.encode(),
                          capture_output=True, check=True, timeout=30).stdout


class Guest:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.commands = 0

    def start(self, timeout=240):
        self.lab.run(['virsh', 'start', self.name], timeout=timeout)

    def console(self):
        return self.lab.run(f'cat /var/log/libvirt/qemu/{self.name}-serial.log', check=False).out.replace('\r\n', '\n')

    def wait_output(self, regex, timeout=240):
        """Waits until the serial console says it; returns the match."""
        end = time.monotonic() + timeout
        while True:
            said = self.console()
            if match := re.search(regex, said, re.M):
                return match
            if time.monotonic() > end:
                log = self.lab.run(f'tail -n 20 /var/log/libvirt/qemu/{self.name}.log; virsh domstate {self.name}',
                                   check=False).out
                raise LabError(f'{self.name} did not say "{regex}" within {timeout} s:\n{said[-3000:]}\n{log}')
            time.sleep(0.5)

    def wait_ready(self, timeout=240):
        """A guest that says nothing at all hangs before its kernel prints a line, which it was once seen to do under emulated SVM.
        It is reset, once, and the log tells."""
        try:
            self.wait_output('.', 90)
        except LabError:
            print(f'# {self.name} said nothing within 90 s: reset', flush=True)
            self.lab.run(['virsh', 'reset', self.name])
        self.wait_output('^L2: ready', timeout)

    def run(self, command, timeout=60, check=True):
        """Runs one line in L2; returns (rc, out)."""
        self.commands += 1
        result = self.lab.run(['/usr/bin/python3', '/lab/.l2-command.py', self.name, f'c{self.commands}', str(timeout)],
                              timeout=timeout + 30, check=False, stdin=command)
        if check and result.rc != 0:
            raise LabError(f'{self.name}: "{command}" ended with status {result.rc}\n{result.out}{result.err}')
        return result

    def disks(self, fresh=False):
        """{serial: {name, size, driver}} as L2 sees them: at its boot, or now when `fresh`."""
        said = self.run('disks').out if fresh else self.console().split('L2: ready')[0]
        return {serial: {'name': name, 'size': int(size), 'driver': driver}
                for name, serial, size, driver in DISK_LINE.findall(said)}

    def state(self):
        return self.lab.run(['virsh', 'domstate', self.name]).out.strip()

    def wait_off(self, timeout=60):
        self.lab.wait_for(f'virsh domstate {self.name} | grep -q "shut off"', timeout)

    def shut_down(self, timeout=120):
        """L2 powers itself off."""
        self.lab.run(['/usr/bin/python3', '/lab/.l2-command.py', self.name, 'off', '2'], timeout=40, check=False,
                     stdin='sync; poweroff -f')
        self.wait_off(timeout)

    def destroy(self):
        self.lab.run(['virsh', 'destroy', self.name], check=False)


CHANNEL = """    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>"""


def define_guest(lab, name='freenas', script=None, fio=False, agent=False, memory=None, ports=6, machine='q35', devices='',
                 stay=False, kernel=''):
    """Defines a guest in L1 without any disk, `memory` in MiB; `script` runs in L2 before it powers off (or stays, with
    `stay`); with `agent` QEMU's guest agent runs in it; `kernel`: more of its command line."""
    memory = memory or (512 if fio else 384 if agent else 288)
    parts = [(lab.image / 'l2-base.cpio').read_bytes(), init_archive(lab.run_folder.folder, script)]
    if fio:
        parts.append((lab.image / 'l2-fio.cpio').read_bytes())
    if agent:
        parts.append((lab.image / 'l2-agent.cpio').read_bytes())
        devices += CHANNEL
    folder = lab.run_folder.share
    (folder / '.l2-command.py').write_bytes((HERE / 'guest/l2-command.py').read_bytes())
    (folder / f'{name}-initrd').write_bytes(b''.join(part + b'\0' * (-len(part) % 4) for part in parts))
    xml = (HERE / 'l2guest/domain.xml').read_text()
    for key, value in {'name': name, 'memory': str(memory), 'machine': machine, 'cmdline': f'{"lab.stay" if stay else ""} {kernel}',
                       'ports': '\n'.join([PORT.format(index, '-port' if index else '') for index in range(ports + 1)] + [BRIDGE]
                                         if machine.startswith('q35') else []),
                       'devices': devices}.items():
        xml = xml.replace(f'@{key}@', value)
    (folder / f'{name}.xml').write_text(xml)
    lab.run(f'[ -e {IMAGES}/l2-kernel ] || cp /boot/vmlinuz-$(uname -r) {IMAGES}/l2-kernel; '
            f'cp /lab/{name}-initrd {IMAGES}/ && sync -f {IMAGES} && virsh define /lab/{name}.xml', timeout=120)
    return Guest(lab, name)
