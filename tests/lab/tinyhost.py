# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a machine with nothing but the lab's kernel, busybox and passthructl: ten seconds instead of a minute. It says what it
was asked to look at (bootguest/init) and powers off."""
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import image
import installed
import l2image
from lab import LabError, Run
from machine import die_with_parent, tail

HERE = Path(__file__).resolve().parent
DEADLINE = 120
DRIVERS = ['vfio-pci', 'vfio_iommu_type1', 'ahci', 'nvme', 'megaraid_sas', 'mptsas', 'virtio_pci', 'virtio_scsi', 'sym53c8xx',
           'vmw_pvscsi', 'e1000', 'e1000e', 'xhci-pci', 'ehci-pci', 'uhci-hcd', 'lpc_ich', 'i2c-i801']
CMDLINE = ('rdinit=/init console=ttyS0 loglevel=5 no_timer_check mitigations=off panic=-1 nokaslr cryptomgr.notests '
           'random.trust_cpu=on intel_iommu=on iommu=pt')


def from_image(path, target=None):
    """A file of the image's root file system: its bytes, or a copy."""
    root = image.ensure() / 'rootfs.raw'
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(['debugfs', '-R', f'dump {path} {target}', str(root)], check=True, capture_output=True, timeout=60)
        if not target.exists():
            raise LabError(f'{path} is not in {root}')
        return None
    return subprocess.run(['debugfs', '-R', f'cat {path}', str(root)], check=True, capture_output=True, timeout=60).stdout


def add_modules(tree):
    """The drivers and what they need, and the order in which they are loaded."""
    folder = f'/usr/lib/modules/{(image.ensure() / "version").read_text().strip()}'
    needs = dict(line.split(':', 1) for line in from_image(f'{folder}/modules.dep').decode().splitlines())
    paths = {Path(path).name.split('.ko')[0]: path for path in needs}
    order = []
    for driver in DRIVERS:
        for path in [*reversed(needs[paths[driver]].split()), paths[driver]]:
            if path not in order:
                order.append(path)
    for path in order:
        from_image(f'{folder}/{path}', tree / 'modules' / Path(path).name)
    (tree / 'modules/order').write_text(''.join(f'{Path(path).name}\n' for path in order))


def add_passthructl(tree):
    program = Path(installed.TOP) / 'build/passthructl'
    libraries = subprocess.run(['ldd', str(program)], check=True, capture_output=True, text=True, timeout=30).stdout.split()
    for library in filter(lambda word: word.startswith('/'), libraries):
        shutil.copy(library, tree / 'passthru' / Path(library).name)
    shutil.copy(next(word for word in libraries if word.startswith('/lib64/ld-')), tree / 'passthru/loader')
    subprocess.run(['strip', '-o', str(tree / 'passthru/passthructl'), str(program)], check=True, timeout=30)
    subprocess.run(['cc', '-O', '-static', '-o', str(tree / 'passthru/viable'), str(HERE / 'bootguest/viable.c')], check=True,
                   timeout=60)


class TinyHost:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='lab-tiny-'))
        tree = self.folder / 'tree'
        for name in ('bin', 'dev', 'proc', 'sys', 'tmp', 'modules', 'passthru'):
            (tree / name).mkdir(parents=True)
        from_image('/usr/bin/busybox', tree / 'bin/busybox')
        shutil.copy(HERE / 'bootguest/init', tree / 'init')
        add_modules(tree)
        add_passthructl(tree)
        for program in (tree / 'init', tree / 'bin/busybox'):
            program.chmod(0o755)
        self.initrd = self.folder / 'initrd'
        l2image.cpio(tree, self.initrd)
        shutil.rmtree(tree)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def look(self, name, arguments, cmdline):
        """Boots with these devices; returns {file: text} of what the machine said."""
        run = Run(name)
        failed = True
        try:
            self.boot(run, arguments, cmdline)
            with tarfile.open(fileobj=io.BytesIO((run.folder / 'said').read_bytes())) as said:
                result = {m.name.removeprefix('./'): said.extractfile(m).read().decode() for m in said if m.isfile()}
            failed = False
            return result
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise LabError(f'the machine said nothing ({error}); its console, in {run.folder}:\n{tail(run.console)}\n'
                           f'{tail(run.log)}') from None
        finally:
            run.close(keep=failed)

    def boot(self, run, arguments, cmdline):
        # Without interrupt remapping, which QEMU 7.2 gets wrong for MSI behind two bridges.
        command = ['qemu-system-x86_64', '-accel', 'tcg,tb-size=512', '-machine', 'q35', '-cpu', 'max', '-m', '768',
                   '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
                   '-device', 'intel-iommu,intremap=off', '-kernel', str(image.ensure() / 'vmlinuz'), '-initrd', str(self.initrd),
                   '-append', f'{CMDLINE} {cmdline}', '-serial', f'file:{run.console}',
                   '-serial', f'file:{run.folder / "said"}', *arguments]
        (run.folder / 'command').write_text(' '.join(command) + '\n')
        with open(run.log, 'wb') as log:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=DEADLINE,
                           preexec_fn=die_with_parent)
