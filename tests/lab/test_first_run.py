#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job on real VFIO: assign, use in the guest, release, with nothing lost."""
import json
import re

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST


@suite.case
def listed(lab):
    """list and show tell the controller, its group and its disks by serial number"""
    rows = {row['address']: row for row in installed.ctl_json(lab, 'list')}
    row = rows[HBA]
    tap.equal((row['kind'], row['driver'], row['state'], row['isolated']), ('sata', 'ahci', 'host', True), 'the controller')
    tap.equal({d['serial'] for d in row['disks']}, set(mainjob.serials(lab)), 'serial numbers')
    tap.equal(rows['0000:00:1f.2']['isolated'], False, 'the onboard controller')
    _, out = lab.run('grep -l "^0x01" /sys/bus/pci/devices/*/class')
    tap.equal(set(rows), {line.split('/')[-2] for line in out.split()}, 'storage controllers that sysfs shows')
    show = installed.ctl_json(lab, 'show', HBA)
    tap.equal(show['reset_method'], lab.run(f'cat /sys/bus/pci/devices/{HBA}/reset_method')[1].strip(), 'reset methods')


@suite.case
def healthy(lab):
    """preflight of an idle isolated controller finds neither failure nor warning, and changes nothing"""
    before = installed.snapshot(lab)
    result = installed.ctl_json(lab, 'preflight', HBA, '--guest', GUEST)
    bad = [f for f in result['findings'] if f['verdict'] in ('warn', 'fail')]
    tap.equal(bad, [], 'warnings and failures')
    tap.equal({f['check'] for f in result['findings']} >= {
        'iommu-enabled', 'vfio-available', 'group-isolated', 'group-platform', 'reserved-region', 'no-iommu-mode', 'sr-iov',
        'host-boot-path', 'host-disk-use', 'guest-conflict', 'cpu-virtualization', 'interrupt-remapping', 'acs-override',
        'competing-binder', 'reset-method', 'interrupt-mode', 'power-state', 'hardware-quirk', 'vmd-or-remapped',
        'driver-builtin', 'twin-device', 'pcie-link', 'numa-local', 'ecc-memory', 'disk-data', 'smart-health'}, True, 'all checks ran')
    tap.equal([f['check'] for f in result['findings'] if f['verdict'] == 'skip'], [], 'skipped checks')
    for finding in result['findings']:
        tap.judged(finding['check'], finding['verdict'])
    installed.same(lab, before)


@suite.case
def planned(lab):
    """assign --dry-run shows the steps and changes nothing"""
    before = installed.snapshot(lab)
    steps = installed.ctl_json(lab, 'assign', HBA, GUEST, '--dry-run')['steps']
    for step in steps:
        tap.equal({'kind', 'subject', 'before', 'after', 'undo'} <= set(step), True, f'keys of {step}')
    kinds = [s['kind'] for s in steps]
    tap.equal(kinds.count('hold'), 2, 'disks held')
    order = [kinds.index(k) for k in ('hold', 'flush', 'unbind', 'bind', 'verify', 'attach')]
    tap.equal(order, sorted(order), f'order of {kinds}')
    installed.same(lab, before)


@suite.case
def main_job(lab):
    """assign, the guest fills both disks, release: one sha256 in guest, host and image; then the host is as it was"""
    before = installed.snapshot(lab, 'first')
    mainjob.assign(lab)
    row = next(r for r in installed.ctl_json(lab, 'list') if r['address'] == HBA)
    tap.equal((row['state'], row['guest'], row['disks']), ('attached', GUEST, []), 'the assigned controller')
    status, out, _ = installed.ctl(lab, '--json', 'status')
    tap.equal((status, [(a['address'], a['healthy']) for a in json.loads(out)]), (0, [(HBA, True)]), 'status')
    hashes = mainjob.use_in_guest(lab, tap.say)
    mainjob.release(lab, hashes)
    own = re.compile(r'\[disks\]\[(%s)\]\[(fstype|fsver|uuid)\]: null became' % '|'.join(mainjob.serials(lab)))
    changed = installed.differences(lab, before).splitlines()
    tap.equal(len([line for line in changed if own.match(line)]), 6, 'signs of the guest\'s two new filesystems')
    tap.equal([line for line in changed if not own.match(line)], [], 'what else the judge finds changed')


@suite.case
def reserved(lab):
    """assign --no-attach leaves the guest's definition alone; release --guest gives everything back"""
    before = installed.snapshot(lab)
    installed.must(lab, 'assign', HBA, GUEST, '--no-attach', '--yes')
    tap.equal(lab.run(f'virsh dumpxml --inactive {GUEST} | grep -c hostdev', check=False)[1].strip(), '0', 'host devices')
    row = next(r for r in installed.ctl_json(lab, 'list') if r['address'] == HBA)
    tap.equal(row['state'], 'reserved', 'state')
    installed.must(lab, 'release', '--guest', GUEST, '--yes')
    installed.wait_for_serials(lab, mainjob.serials(lab))
    installed.same(lab, before)


@suite.case
def hostile_assignment_file(lab):
    """a broken assignment file is named, and nothing is touched"""
    lab.run('mkdir -p /etc/passthru/assignments.d && echo "{ broken" > /etc/passthru/assignments.d/x.json')
    try:
        installed.refused(lab, ['assign', HBA, GUEST, '--yes'], '/etc/passthru/assignments.d/x.json')
    finally:
        lab.run('rm -r /etc/passthru')


def main():
    with Lab(name='first-run', topology='default') as lab:
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        suite.run(lab)


if __name__ == '__main__':
    main()
