# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the disk image of L1, the emulated host, and the parts of L2, in a folder: Debian with libvirt and QEMU, packed
without mounting anything. What is here and in image/ decides the image's hash; image.py keeps the cache."""
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import l2image

HERE = Path(__file__).resolve().parent
INPUTS = ['bootstrap.py', 'l2image.py', 'image/packages', 'image/configure', 'image/initramfs.conf',
          'image/initramfs.hook', 'image/warm']
SIZE = 6 << 30
BUILD_DEADLINE = 1500
# Documentation, and the parts of the initramfs for roots on RAID, LVM and the like: they double the time of
# update-initramfs under emulation, and L1's root is a plain disk.
LEFT_OUT = ['/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*',
            *(f'/usr/share/initramfs-tools/*/{name}' for name in
              ('mdadm', 'bcache', 'btrfs', 'lvm2', 'dmsetup', 'thermal', 'fsck'))]


def packages(release):
    lines = (HERE / 'image/packages').read_text().splitlines()
    words = [word.partition('@') for line in lines if not line.startswith('#') for word in line.split()]
    return [name for name, _, suite in words if suite in ('', release)]


def install(release, root, debs):
    """Fills `root` with Debian; downloaded packages stay in `debs` for the next build."""
    source = shlex.quote(str(HERE / 'image'))
    kept = shlex.quote(str(debs))
    command = [
        'mmdebstrap', '--mode=root', '--variant=apt', '--format=directory', '--quiet',
        '--include=' + ','.join(packages(release)),
        '--skip=download/empty', '--skip=essential/unlink',
        '--aptopt=Acquire::Retries "5"', '--aptopt=Acquire::Languages "none"',
        '--dpkgopt=force-unsafe-io', *(f'--dpkgopt=path-exclude={path}' for path in LEFT_OUT),
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives/partial" "$1/etc/initramfs-tools/conf.d" '
        '"$1/etc/initramfs-tools/hooks"',
        f'--setup-hook=cp {source}/initramfs.conf "$1/etc/initramfs-tools/conf.d/lab"',
        f'--setup-hook=cp {source}/initramfs.hook "$1/etc/initramfs-tools/hooks/lab"',
        f'--setup-hook=find {kept} -name "*.deb" -exec cp -t "$1/var/cache/apt/archives" {{}} +',
        f'--customize-hook=cp -u -t {kept} "$1"/var/cache/apt/archives/*.deb',
        f'--customize-hook={source}/configure "$1"',
        release, str(root)]
    subprocess.run(command, check=True, timeout=BUILD_DEADLINE, stdout=sys.stderr)


def pack(root, work):
    """Makes the file system out of the folder: no loop device and no mount."""
    image = work / 'rootfs.raw'
    with open(image, 'wb') as f:
        f.truncate(SIZE)
    subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'lab', '-m', '0', '-E', 'lazy_itable_init=1,root_owner=0:0',
                    '-d', str(root), str(image)], check=True, timeout=300)


def newest(root, pattern):
    found = sorted((root / 'boot').glob(pattern))
    if not found:
        raise RuntimeError(f'no {pattern} in the image: its kernel was not installed')
    return found[-1]


def build(release, target, debs):
    work = Path(tempfile.mkdtemp(prefix=f'.build-{release}-', dir=target.parent))
    try:
        root = work / 'root'
        os.chmod(work, 0o755)
        install(release, root, debs)
        kernel = newest(root, 'vmlinuz-*')
        shutil.copy(kernel, work / 'vmlinuz')
        shutil.copy(newest(root, 'initrd.img-*'), work / 'initrd')
        (work / 'version').write_text(kernel.name.split('-', 1)[1] + '\n')
        l2image.build(root, work)
        pack(root, work)
        shutil.rmtree(root)
        warm(work)
        os.rename(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def warm(work):
    """Boots the new image once, so that later boots find the caches of AppArmor and libvirt filled."""
    from lab import Lab  # which asks this module for images
    with Lab('\n', name='warm', image_folder=work) as lab:
        lab.wait_host()
        lab.run([lab.put(HERE / 'image/warm')], timeout=180)
        lab.power_off()
        subprocess.run(['qemu-img', 'commit', '-q', str(lab.run_folder.overlay)], check=True, timeout=120)
