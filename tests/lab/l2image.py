# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the parts of L2's initramfs out of the root folder of L1's image: same kernel, same programs.

base.cpio has busybox, kmod, mke2fs, blkid, sha256sum and the drivers of disks; fio.cpio has fio with its libraries and
agent.cpio QEMU's guest agent with udev, which tells it the serial numbers of disks: each appended only when wanted. L2's own /init is added at each boot by l2.py, so a change of it needs no new image."""
import shutil
import subprocess
from pathlib import Path

MODULE_FOLDERS = ['drivers/ata', 'drivers/nvme/host', 'drivers/message/fusion', 'drivers/scsi/megaraid',
                  'drivers/scsi/sym53c8xx_2', 'drivers/virtio', 'fs/ext4', 'fs/jbd2']
MODULES = ['drivers/scsi/scsi_mod', 'drivers/scsi/scsi_common', 'drivers/scsi/sd_mod', 'drivers/scsi/sr_mod',
           'drivers/scsi/sg', 'drivers/scsi/scsi_transport_sas', 'drivers/scsi/scsi_transport_spi',
           'drivers/scsi/virtio_scsi', 'drivers/scsi/raid_class', 'drivers/block/virtio_blk', 'drivers/char/hw_random',
           'drivers/char/virtio_console', 'drivers/firmware/qemu_fw_cfg', 'fs/mbcache', 'lib/crc16',
           'lib/crc-t10dif', 'lib/crc64', 'lib/crc64-rocksoft', 'crypto/crct10dif_common', 'crypto/crct10dif_generic',
           'crypto/crc32c_generic', 'crypto/crc64_rocksoft_generic', 'arch/x86/crypto', 'block/t10-pi',
           'drivers/pci/hotplug', 'drivers/cdrom/cdrom']
PROGRAMS = ['/usr/bin/kmod', '/usr/sbin/mke2fs', '/usr/sbin/blkid', '/usr/bin/lsblk', '/usr/bin/sha256sum',
            '/usr/bin/dd', '/usr/bin/timeout', '/usr/bin/lspci']


AGENT = ['/usr/sbin/qemu-ga', '/usr/bin/udevadm', '/usr/lib/udev/ata_id', '/usr/lib/udev/scsi_id']
UDEV_RULES = ['50-udev-default.rules', '60-block.rules', '60-persistent-storage.rules', '80-drivers.rules']


def libraries(root, program):
    """The shared libraries of a program of the image, as its own loader finds them."""
    listing = subprocess.run(['chroot', str(root), 'ldd', program], capture_output=True, text=True, timeout=30).stdout
    return sorted({word for line in listing.splitlines() for word in line.split() if word.startswith('/')})


def copy(root, source, target):
    """Copies one file under its name, through the links of a merged /usr."""
    real = root / Path(source).relative_to('/')
    if not real.exists():
        resolved = subprocess.run(['chroot', str(root), 'readlink', '-f', source], capture_output=True, text=True,
                                  timeout=30, check=True).stdout.strip()
        real = root / resolved.lstrip('/')
    place = target / source.lstrip('/')
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(real, place)


def copy_program(root, program, target):
    found = next((p for p in (program, program.removeprefix('/usr')) if (root / p.lstrip('/')).exists()), None)
    if not found:
        raise RuntimeError(f'{program} is missing in the image of L1')
    for source in [found, *libraries(root, found)]:
        copy(root, source, target)


def cpio(tree, output):
    with open(output, 'wb') as f:
        names = subprocess.run(['find', '.', '-print0'], cwd=tree, capture_output=True, check=True).stdout
        subprocess.run(['cpio', '--null', '-o', '-H', 'newc', '--quiet'], cwd=tree, input=names, stdout=f, check=True,
                       timeout=120)


def copy_modules(root, version, tree):
    source = root / 'lib/modules' / version
    target = tree / 'usr/lib/modules' / version
    for name in MODULE_FOLDERS + MODULES:
        base = source / 'kernel' / name
        files = list(base.rglob('*.ko*')) if base.is_dir() else list(base.parent.glob(base.name + '.ko*'))
        for file in files:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    for name in ('modules.order', 'modules.builtin', 'modules.builtin.modinfo'):
        shutil.copy(source / name, target / name)
    subprocess.run(['depmod', '-b', str(tree / 'usr'), version], check=True, timeout=60)


def more_programs(root, tree, programs, files, output):
    """A cpio to append: programs with their libraries, and other files."""
    for name in ('usr/bin', 'usr/lib', 'usr/lib64'):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / 'lib').symlink_to('usr/lib')
    (tree / 'lib64').symlink_to('usr/lib64')
    for program in programs:
        copy_program(root, program, tree)
    for file in files:
        copy(root, file, tree)
    cpio(tree, output)
    shutil.rmtree(tree)


def build(root, output):
    version = (output / 'version').read_text().strip()
    tree = output / 'l2-tree'
    for name in ('bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/lib', 'dev', 'proc', 'sys', 'run', 'tmp', 'mnt', 'etc'):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / 'lib').symlink_to('usr/lib')
    (tree / 'usr/lib64').mkdir()
    (tree / 'lib64').symlink_to('usr/lib64')
    copy(root, '/bin/busybox', tree)
    for program in PROGRAMS:
        copy_program(root, program, tree)
    for name in ('modprobe', 'insmod', 'lsmod', 'rmmod'):
        (tree / 'sbin' / name).symlink_to('/usr/bin/kmod' if (tree / 'usr/bin/kmod').exists() else '/bin/kmod')
    shutil.copy(root / 'etc/mke2fs.conf', tree / 'etc/mke2fs.conf')
    copy_modules(root, version, tree)
    cpio(tree, output / 'l2-base.cpio')
    shutil.rmtree(tree)

    more_programs(root, tree, ['/usr/bin/fio'], [], output / 'l2-fio.cpio')
    more_programs(root, tree, AGENT, [f'/usr/lib/udev/rules.d/{name}' for name in UDEV_RULES], output / 'l2-agent.cpio')
