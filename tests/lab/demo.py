#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: the main job on real VFIO in a virtual machine with an emulated IOMMU, step by step."""
import sys

import installed
import l2
import mainjob
from lab import Lab


def title(text):
    print(f'\n== {text}', flush=True)


def run(lab, *arguments):
    print(f'$ passthructl {" ".join(arguments)}', flush=True)
    print(installed.must(lab, *arguments), flush=True)


def main():
    print('A virtual machine with an emulated IOMMU plays the host; this machine is not touched.', flush=True)
    with Lab(name='demo', topology='default') as lab:
        installed.install(lab)
        l2.define_guest(lab, mainjob.GUEST, stay=True)
        title('Controllers of the host')
        run(lab, 'list')
        title('Would it be safe?')
        run(lab, 'preflight', mainjob.CONTROLLER, '--guest', mainjob.GUEST)
        title('The plan')
        run(lab, 'assign', mainjob.CONTROLLER, mainjob.GUEST, '--dry-run')
        title('The assignment')
        print(mainjob.assign(lab))
        print('The host shows no block device of it any more:', flush=True)
        print(lab.run('lsblk -o NAME,SIZE,SERIAL,MOUNTPOINTS')[1], flush=True)
        run(lab, 'status')
        title('The guest boots, makes filesystems and fills them (its disks by serial number, as drawn for this run)')
        hashes = mainjob.use_in_guest(lab, lambda line: print(line, flush=True))
        title('Released')
        out, rows = mainjob.release(lab, hashes)
        print(out)
        print('sha256 of each disk: the guest\'s, the host\'s, and that of the image file outside:', flush=True)
        for serial, guest, host, image in rows:
            print(f'{serial}\n  guest {guest}\n  host  {host}\n  image {image}', flush=True)
        run(lab, 'list')
    print('\nDone: assigned, used and given back with nothing lost.', flush=True)


if __name__ == '__main__':
    sys.exit(main())
