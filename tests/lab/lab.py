# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: an emulated host (L1) with a real IOMMU, as a Python object. See README.md for how to use it."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import image  # noqa: E402
import topology as topologies  # noqa: E402
from agentlink import CommandError, HungHost, LabError, Result  # noqa: E402,F401
from machine import Machine, arguments  # noqa: E402

BOOT_DEADLINE = 240
# Of a program whose emulated machine stood still without a word of its kernel: run-tests runs it once more.
HUNG_STATUS = 75
KEPT_RUNS = 10
say = image.say


def checked(*command, timeout=120):
    subprocess.run([str(word) for word in command], check=True, timeout=timeout)


class Run:
    """The folder of one run: what goes in, what comes out, and what is looked at when a test failed."""

    def __init__(self, name):
        runs = image.CACHE / 'runs'
        runs.mkdir(parents=True, exist_ok=True)
        for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_RUNS]:
            if not os.path.exists(f'/proc/{old.name.rsplit(".", 1)[-1]}'):
                shutil.rmtree(old, ignore_errors=True)
        self.folder = runs / f'{time.strftime("%m%d-%H%M%S")}-{name}.{os.getpid()}'
        count = 0
        while self.folder.exists():
            count += 1
            self.folder = runs / f'{time.strftime("%m%d-%H%M%S")}-{name}-{count}.{os.getpid()}'
        self.share, self.out, self.disks = self.folder / 'share', self.folder / 'out', self.folder / 'disks'
        for folder in (self.share, self.out, self.disks):
            folder.mkdir(parents=True)
        self.sockets = tempfile.mkdtemp(prefix='lab-')  # a unix socket's path has no more than 107 characters
        self.overlay = self.folder / 'root.qcow2'
        self.console = self.folder / 'console.log'
        self.log = self.folder / 'qemu.log'

    def close(self, keep):
        shutil.rmtree(self.sockets, ignore_errors=True)
        if os.environ.get('LAB_KEEP'):
            return
        shutil.rmtree(self.disks, ignore_errors=True)
        self.overlay.unlink(missing_ok=True)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Lab:
    def __init__(self, topology='default', vendor=None, release=None, name='run', cmdline='', memory=3072, cpus=2,
                 early_cpio=None, initrd=None, share=None, boot=True, image_folder=None):
        """`vendor` of the IOMMU: intel, amd or none; it and `release` come from LAB_VENDOR and LAB_RELEASE when not given.
        `topology`: a name in topologies/, a path, or the lines themselves. `share`: {name: local path} for /lab.
        `early_cpio`: bytes put before the initrd (ACPI tables). `initrd`: another file than the image's own."""
        self.vendor = vendor or os.environ.get('LAB_VENDOR', 'intel')
        self.release = release or os.environ.get('LAB_RELEASE', 'bookworm')
        self.name, self.cmdline, self.memory, self.cpus = name, cmdline, memory, cpus
        self.early_cpio, self.initrd = early_cpio, initrd
        self.image = image_folder or image.ensure(self.release)
        self.machine = None
        self.boot_seconds = None
        self.run_folder = Run(name)
        try:
            lines = topologies.parse(topology) if '\n' in str(topology) else topologies.read(topology)
            self.topology = topologies.build(lines, self.run_folder.disks)
            self.disks = self.topology.disks
            checked('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', self.image / 'rootfs.raw',
                    self.run_folder.overlay)
            shutil.copy(HERE / 'guest/agent.py', self.run_folder.share / '.agent.py')
            for shared, path in (share or {}).items():
                self.put(path, shared)
            if boot:
                self.boot()
        except BaseException:
            self.close(failed=True)
            raise

    # -- life ------------------------------------------------------------------------------------------------------

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        passed = kind is None or (kind is SystemExit and not value.code)
        hung = kind is HungHost and self.machine and self.machine.alive()
        if hung:
            say(f'L1 hangs: {value}\n{self.machine.why_hung()}')
        repeat = hung and not self.machine.kernel_complained()
        self.close(failed=not passed, hung=hung)
        if repeat:
            sys.exit(HUNG_STATUS)

    def close(self, failed=False, hung=False):
        if failed and self.machine and not hung:
            self.collect()
        if self.machine:
            self.machine.kill()
            self.machine = None
        if failed:
            say(f'logs are in {self.run_folder.folder}')
        self.run_folder.close(keep=failed)

    def boot(self, initrd=None, cmdline=None, timeout=BOOT_DEADLINE):
        """Powers L1 on, with the disks as they are; returns the seconds until the agent answered."""
        if self.machine:
            raise LabError('L1 is already on')
        if initrd:
            self.initrd = initrd
        if cmdline is not None:
            self.cmdline = cmdline
        kernel, initrd = self.image / 'vmlinuz', Path(self.initrd or self.image / 'initrd')
        if self.early_cpio:
            joined = self.run_folder.folder / 'initrd.joined'
            joined.write_bytes(self.early_cpio + initrd.read_bytes())
            initrd = joined
        run = self.run_folder
        command = arguments(run, self.topology, self.vendor, kernel, initrd, self.cmdline, self.memory, self.cpus)
        self.machine = Machine(command, run.sockets, run.console, run.log)
        self.boot_seconds = self.machine.wait_agent(timeout)
        return self.boot_seconds

    def power_cut(self):
        """SIGKILL of QEMU: what L1 had not flushed to its disks is lost."""
        self._on().kill()
        self.machine = None

    def power_off(self, timeout=120):
        """An orderly end, with all units stopped."""
        machine = self._on()
        machine.link.start(['systemctl', 'poweroff'])
        machine.wait_end(timeout)
        self.machine = None

    def reboot(self, own_initrd=False, timeout=BOOT_DEADLINE, **options):
        """An orderly reboot; with `own_initrd`, into the initramfs that L1 made for itself (update-initramfs)."""
        if own_initrd:
            options['initrd'] = self.fetch('/boot/initrd.img-' + self.run('uname -r')[1].strip())
        self.power_off()
        return self.boot(timeout=timeout, **options)

    def _on(self):
        if not self.machine:
            raise LabError('L1 is off')
        return self.machine

    # -- commands and files ------------------------------------------------------------------------------------------

    def spawn(self, command, env=None, stdin=b'', stream=False):
        """Starts a command (a string for the shell, or a list); returns a Job with wait(), kill(), out and err."""
        argv = ['sh', '-c', command] if isinstance(command, str) else list(command)
        return self._on().link.start(argv, env, stdin, stream)

    def run(self, command, timeout=60, check=True, stream=False, env=None, stdin=b''):
        """Runs a command in L1 to its end; returns (rc, out), which also has .err. Fails on a status other than 0."""
        return self.spawn(command, env, stdin, stream).wait(timeout, check)

    def read(self, path, timeout=30):
        return self.run(['cat', path], timeout).out

    def write(self, path, text, timeout=30):
        return self.run(['sh', '-c', 'cat > "$0"', path], timeout, stdin=text)

    def wait_for(self, command, timeout=60, every=0.5):
        """Runs a shell command again and again until it succeeds."""
        end = time.monotonic() + timeout
        while True:
            result = self.run(command, timeout=timeout, check=False)
            if result.rc == 0:
                return result
            if time.monotonic() > end:
                raise LabError(f'"{command}" did not come true within {timeout} s\n{result.out}{result.err}')
            time.sleep(every)

    def wait_host(self, timeout=180):
        """Waits until L1 is as far up as it gets and libvirt answers."""
        self.wait_for('systemctl is-system-running --wait | grep -E "running|degraded"', timeout)
        self.wait_for('virsh list', timeout)

    def put(self, path, name=None):
        """Copies a local file or folder into the share; returns its path in L1."""
        path = Path(path)
        target = self.run_folder.share / (name or path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(path, target)
        return f'/lab/{target.relative_to(self.run_folder.share)}'

    def fetch(self, path):
        """Copies a file of L1 out; returns its local path."""
        name = Path(path).name
        self.run(['cp', '-L', path, f'/lab-out/{name}'], timeout=60)
        return self.run_folder.out / name

    def install(self, destdir):
        """Puts what `make install DESTDIR=destdir` made onto L1, and lets its services see it."""
        archive = self.run_folder.share / '.install.tar'
        checked('tar', '-C', destdir, '--owner=0', '--group=0', '-cf', archive, '.')
        self.run('tar -C / --keep-directory-symlink --no-overwrite-dir -xf /lab/.install.tar && ldconfig && '
                 'systemctl daemon-reload && udevadm control --reload && systemctl reload dbus', timeout=90)
        # Only our own records, as all of them take emulation half a minute; what udev calls other hardware does not matter here.
        self.run('set -- /usr/lib/udev/hwdb.d/70-passthru.hwdb; [ ! -e "$1" ] || { mkdir -p /run/hwdb/etc/udev/hwdb.d && '
                 'cp "$1" /run/hwdb/etc/udev/hwdb.d && systemd-hwdb --root=/run/hwdb update && '
                 'cp /run/hwdb/etc/udev/hwdb.bin /etc/udev; }')

    def journal(self, unit=None, timeout=60):
        selected = ['-u', unit] if unit else []
        return self.run(['journalctl', '-b', '--no-pager', '-o', 'short-precise', *selected], timeout).out

    def collect(self):
        """Saves what explains a failure; never fails itself."""
        if not self.machine or not self.machine.alive() or self.boot_seconds is None:
            return
        folder = self.run_folder.folder
        for name, command in (('journal.txt', 'journalctl --no-pager -o short-precise'), ('dmesg.txt', 'dmesg'),
                              ('state.txt', 'systemctl --failed; virsh list --all; lspci -nnk; lsblk; ps axf')):
            try:
                (folder / name).write_text(self.run(command, timeout=40, check=False).out)
            except (LabError, OSError) as error:
                say(f'no {name}: {str(error).splitlines()[0]}')

    # -- QEMU's side of the hardware ---------------------------------------------------------------------------------

    def qmp(self, command, **arguments_):
        return self._on().qmp(command, **arguments_)

    def block_stats(self, disk):
        """QEMU's counters of a disk: rd_operations, wr_operations, flush_operations, rd_bytes, wr_bytes, ..."""
        for entry in self.qmp('query-blockstats'):
            if entry.get('node-name') == self.disks[disk].node or f'/{disk}/' in entry.get('qdev', '') + '/':
                return entry['stats']
        raise LabError(f'QEMU knows no disk {disk}')

    def sha256(self, disk):
        """The hash of a disk's image as QEMU's writes left it; L1 and L2 must have flushed first."""
        digest = hashlib.sha256()
        with open(self.disks[disk].path, 'rb') as f:
            while chunk := f.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    def plug(self, name):
        """Hot-plugs a device that the topology marks with plug=later."""
        properties = self.topology.devices[name]
        line = ','.join([properties['driver']] + [f'{k}={v}' for k, v in properties.items() if k != 'driver'])
        answer = self.qmp('human-monitor-command', command_line=f'device_add {line}')
        if answer.strip():
            raise LabError(f'QEMU refused to plug {name}: {answer.strip()}')

    def unplug(self, name):
        """Asks L1 for a device back, as the attention button of a slot does."""
        self.qmp('device_del', id=name)
