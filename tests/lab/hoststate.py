#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge: prints the state of a host as JSON, so that two states can be compared. Runs in L1 and knows nothing of
passthru's code.

usage: hoststate.py                 prints the state
       hoststate.py compare A B     prints the differences of two states; status 1 if there are any"""
import hashlib
import json
import os
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

ROOTS = ('/etc', '/boot', '/var/lib/passthru', '/run/passthru')
HASHES = '/tmp/hoststate-hashes.json'  # {path: [what tells that the file was not written since, hash of its contents]}

# What may differ, and why. At most ten.
IGNORED = {
    '/var/lib/passthru/journal': 'append-only: the record of what was done stays, by design',
    '/etc/libvirt/qemu': "libvirt's own copy of the domains; they are compared through virsh instead",
    '/etc/lvm/archive': 'LVM keeps old metadata whenever a test makes a volume group',
    '/etc/lvm/backup': 'the same',
    '/etc/machine-id': 'made at the first boot',
    '/etc/resolv.conf': 'written by the network, not by us',
    '/etc/apparmor.d/libvirt': "libvirt's profile of each guest, written at each start of it",
}
# What names and numbers the kernel gives a disk that comes back, and how full the host's own file systems are.
LSBLK_VOLATILE = ('name', 'kname', 'path', 'hctl', 'maj:min', 'pkname', 'maj', 'min', 'disk-seq', 'fsavail', 'fsused', 'fsuse%')


def ignored(path):
    return any(path == entry or path.startswith(entry + '/') for entry in IGNORED)


def link_name(path):
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def text(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return None


def pci():
    base = '/sys/bus/pci/devices'
    return {address: {'driver': link_name(f'{base}/{address}/driver'),
                      'driver_override': text(f'{base}/{address}/driver_override')}
            for address in sorted(os.listdir(base))}


def contents(path, status, known):
    """The hash of a file; read again only when it was written since: every write sets ctime, which nobody can set back."""
    version = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if known.get(path, [None])[0] != version:
        with open(path, 'rb') as f:
            known[path] = [version, hashlib.sha256(f.read()).hexdigest()]
    return known[path][1]


def entry(path, known):
    status = os.lstat(path)
    result = {'mode': oct(status.st_mode), 'owner': f'{status.st_uid}:{status.st_gid}'}
    if stat.S_ISLNK(status.st_mode):
        result['link'] = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        result['sha256'] = contents(path, status, known)
    return result


def files():
    known = json.loads(text(HASHES) or '{}')
    found = all_entries(known)
    with open(HASHES, 'w') as f:
        json.dump(known, f)
    return found


def all_entries(known):
    found = {}
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not ignored(os.path.join(folder, name))]
            for name in names + folders:
                path = os.path.join(folder, name)
                if not ignored(path):
                    try:
                        found[path] = entry(path, known)
                    except FileNotFoundError:  # went away meanwhile
                        pass
    return found


def virsh(*commands):
    """What the commands print, in one session."""
    return subprocess.run(['virsh', '-q', '; '.join(commands)], capture_output=True, text=True, check=True, timeout=60).stdout


def domain(listing):
    """The definition of a guest without what libvirt adds by itself to make room: addresses, ports and bridges."""
    tree = ElementTree.fromstring(listing)
    for parent in list(tree.iter()):
        for child in list(parent):
            added = child.tag == 'controller' and child.get('model') in ('pcie-root-port', 'pcie-to-pci-bridge')
            if added or (child.tag == 'address' and parent.tag != 'source'):
                parent.remove(child)
    for element in tree.iter():
        element.text = (element.text or '').strip()
        element.tail = ''
    devices = tree.find('devices')
    if devices is not None:
        devices[:] = sorted(devices, key=ElementTree.tostring)
    return ElementTree.tostring(tree, encoding='unicode')


def domains():
    """{guest: [definition, whether it starts by itself]}"""
    every, by_itself = virsh('list --all --name', 'echo @@', 'list --all --autostart --name').split('@@')
    names = sorted(every.split())
    if not names:
        return {}
    listings = virsh(*(f"dumpxml --inactive --security-info '{name}'; echo @@" for name in names)).split('@@')[:-1]
    return {name: [domain(listing), name in by_itself.split()] for name, listing in zip(names, listings, strict=True)}


def plain(device):
    result = {key: value for key, value in device.items() if key not in LSBLK_VOLATILE}
    if 'children' in result:
        result['children'] = sorted((plain(child) for child in result['children']), key=json.dumps)
    return result


def disks():
    """By serial, since names like sda change when a controller comes back."""
    listing = subprocess.run(['lsblk', '-O', '--json'], capture_output=True, text=True, check=True, timeout=60).stdout
    return {device.get('serial') or f"no serial: {device['name']}": plain(device)
            for device in json.loads(listing)['blockdevices'] if device.get('type') != 'loop'}


def state():
    return {'pci': pci(), 'files': files(), 'domains': domains(), 'disks': disks()}


def differences(before, after, path=''):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            below = f'{path}[{key}]'
            if key not in after:
                yield f'{below} is gone: {json.dumps(before[key])}'
            elif key not in before:
                yield f'{below} is new: {json.dumps(after[key])}'
            else:
                yield from differences(before[key], after[key], below)
    elif before != after:
        yield f'{path}: {json.dumps(before)} became {json.dumps(after)}'


def compare(first, second):
    with open(first) as a, open(second) as b:
        found = list(differences(json.load(a), json.load(b)))
    for line in found:
        print(line)
    return 1 if found else 0


def main():
    if len(sys.argv) == 4 and sys.argv[1] == 'compare':
        sys.exit(compare(sys.argv[2], sys.argv[3]))
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    json.dump(state(), sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == '__main__':
    main()
