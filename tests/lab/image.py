#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the disk image of L1, the emulated host: Debian with libvirt and QEMU, packed without mounting anything.

usage: image.py [--release SUITE]      prints the folder with rootfs.raw, vmlinuz, initrd and the parts of L2
"""
import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get('LAB_CACHE') or HERE.parents[1] / '.cache' / 'lab')
SIZE = '6G'
INPUTS = ['image.py', 'image/packages', 'image/configure', 'image/initramfs.conf', 'image/initramfs.modules',
          'l2image.py']
BUILD_DEADLINE = 1500


def say(text):
    print(f'lab: {text}', file=sys.stderr, flush=True)


def folder(release):
    digest = hashlib.sha256(release.encode())
    for name in INPUTS:
        digest.update(name.encode() + b'\0' + (HERE / name).read_bytes())
    return CACHE / f'{release}-{digest.hexdigest()[:12]}'


def packages():
    lines = (HERE / 'image/packages').read_text().splitlines()
    return [word for line in lines if not line.startswith('#') for word in line.split()]


def bootstrap(release, root):
    """Fills `root` with Debian; downloaded packages stay in the cache for the next build."""
    debs = CACHE / 'debs' / release
    debs.mkdir(parents=True, exist_ok=True)
    source = shlex.quote(str(HERE / 'image'))
    kept = shlex.quote(str(debs))
    command = [
        'mmdebstrap', '--mode=root', '--variant=apt', '--format=directory', '--quiet',
        '--include=' + ','.join(packages()),
        '--skip=download/empty', '--skip=essential/unlink',
        '--aptopt=Acquire::Retries "5"', '--aptopt=Acquire::Languages "none"',
        '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/doc/*',
        '--dpkgopt=path-exclude=/usr/share/locale/*', '--dpkgopt=force-unsafe-io',
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives/partial" "$1/etc/initramfs-tools/conf.d" '
        '"$1/usr/share/initramfs-tools/modules.d"',
        f'--setup-hook=cp {source}/initramfs.conf "$1/etc/initramfs-tools/conf.d/lab"',
        f'--setup-hook=cp {source}/initramfs.modules "$1/usr/share/initramfs-tools/modules.d/lab"',
        f'--setup-hook=find {kept} -name "*.deb" -exec cp -t "$1/var/cache/apt/archives" {{}} +',
        f'--customize-hook=cp -u -t {kept} "$1"/var/cache/apt/archives/*.deb',
        f'--customize-hook={source}/configure "$1"',
        release, str(root)]
    subprocess.run(command, check=True, timeout=BUILD_DEADLINE, stdout=sys.stderr)


def pack(root, work):
    """Makes the file system out of the folder: no loop device and no mount."""
    image = work / 'rootfs.raw'
    with open(image, 'wb') as f:
        f.truncate(6 << 30)
    subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'lab', '-m', '0', '-E', 'lazy_itable_init=1,root_owner=0:0',
                    '-d', str(root), str(image)], check=True, timeout=300)


def newest(root, pattern):
    found = sorted((root / 'boot').glob(pattern))
    if not found:
        raise RuntimeError(f'no {pattern} in the image: its kernel was not installed')
    return found[-1]


def build(release, target):
    import l2image
    work = Path(tempfile.mkdtemp(prefix=f'.build-{release}-', dir=CACHE))
    try:
        root = work / 'root'
        os.chmod(work, 0o755)
        bootstrap(release, root)
        kernel = newest(root, 'vmlinuz-*')
        shutil.copy(kernel, work / 'vmlinuz')
        shutil.copy(newest(root, 'initrd.img-*'), work / 'initrd')
        (work / 'version').write_text(kernel.name.split('-', 1)[1] + '\n')
        l2image.build(root, work)
        pack(root, work)
        shutil.rmtree(root)
        os.rename(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def ensure(release='bookworm'):
    """Returns the folder of the image, built now unless it is in the cache."""
    target = folder(release)
    if (target / 'rootfs.raw').exists():
        return target
    if os.geteuid() != 0:
        raise SystemExit('lab: building the image needs root: run it with sudo once')
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / 'build.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / 'rootfs.raw').exists():
            return target
        for stale in CACHE.glob('.build-*'):
            shutil.rmtree(stale, ignore_errors=True)
        say(f'building the Debian {release} image (about 3 minutes, cached in {target})')
        begin = time.monotonic()
        build(release, target)
        say(f'image built in {time.monotonic() - begin:.0f} s')
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--release', default='bookworm', help='Debian suite of L1 (bookworm)')
    print(ensure(parser.parse_args().release))


if __name__ == '__main__':
    main()
