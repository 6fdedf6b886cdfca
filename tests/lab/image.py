#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the images of L1, the emulated host, in a cache, and builds one when it is not there.

usage: image.py [--release SUITE]      prints the folder with rootfs.raw, vmlinuz, initrd and the parts of L2
"""
import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import bootstrap

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get('LAB_CACHE') or HERE.parents[1] / '.cache' / 'lab')
STALE = 2 * 24 * 3600   # an image of other inputs that nobody used for so long goes away


def say(text):
    print(f'lab: {text}', file=sys.stderr, flush=True)


def folder(release):
    digest = hashlib.sha256(release.encode())
    for name in bootstrap.INPUTS:
        digest.update(name.encode() + b'\0' + (HERE / name).read_bytes())
    return CACHE / f'{release}-{digest.hexdigest()[:12]}'


def drop_stale(release):
    for path in [*CACHE.glob('.build-*'), *CACHE.glob(f'{release}-*')]:
        if path.name.startswith('.build-') or time.time() - path.stat().st_mtime > STALE:
            shutil.rmtree(path, ignore_errors=True)


def ensure(release='bookworm'):
    """Returns the folder of the image, built now unless it is in the cache."""
    target = folder(release)
    if (target / 'rootfs.raw').exists():
        os.utime(target)
        return target
    if os.geteuid() != 0:
        raise SystemExit('lab: building the image needs root: run it with sudo once')
    debs = CACHE / 'debs' / release
    debs.mkdir(parents=True, exist_ok=True)
    with open(CACHE / 'build.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / 'rootfs.raw').exists():
            return target
        drop_stale(release)
        say(f'building the Debian {release} image (about 2 minutes, cached in {target})')
        begin = time.monotonic()
        bootstrap.build(release, target, debs)
        say(f'image built in {time.monotonic() - begin:.0f} s')
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--release', default='bookworm', help='Debian suite of L1 (bookworm)')
    print(ensure(parser.parse_args().release))


if __name__ == '__main__':
    main()
