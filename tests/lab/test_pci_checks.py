#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the platform and of PCI functions, each in a condition that makes it complain and in one that does not."""
import installed
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, KEEP, NVME, LSI, VIRTIO, TWIN, ONBOARD = (mainjob.CONTROLLER, '0000:02:00.0', '0000:01:00.0', '0000:06:02.0', '0000:06:01.0',
                                               '0000:07:00.0', '0000:00:1f.2')


def finding(lab, check, address=None):
    """The findings of one check: [(verdict, all its words)]."""
    found = installed.ctl_json(lab, 'preflight', *([address] if address else []))['findings']
    return [(f['verdict'], ' '.join([f['message'], *f['evidence'], f['remedy'] or ''])) for f in found if f['check'] == check]


def verdict(lab, check, address, expected, *words):
    found = finding(lab, check, address)
    tap.equal([f[0] for f in found], [expected], f'{check} of {address or "the host"}: {found}')
    tap.contains(found[0][1], *words)


@suite.case
def platform(lab):
    """interrupt-remapping and acs-override fail on a kernel that was told so"""
    verdict(lab, 'interrupt-remapping', None, 'fail', 'intremap=off', 'IR-')
    verdict(lab, 'acs-override', None, 'fail', 'pcie_acs_override')
    verdict(lab, 'iommu-enabled', None, 'pass')
    verdict(lab, 'cpu-virtualization', None, 'pass')
    verdict(lab, 'ecc-memory', None, 'info')


@suite.case
def no_kvm(lab):
    """cpu-virtualization fails while KVM is not loaded"""
    lab.run('modprobe -r kvm_amd')
    try:
        verdict(lab, 'cpu-virtualization', None, 'fail', '/dev/kvm')
    finally:
        lab.run('modprobe kvm_amd')
    verdict(lab, 'cpu-virtualization', None, 'pass')


@suite.case
def other_tools(lab):
    """competing-binder finds driverctl, ids and softdeps, and only where they name the controller"""
    verdict(lab, 'competing-binder', HBA, 'pass')
    lab.run(f'mkdir -p /etc/driverctl.d && echo vfio-pci > /etc/driverctl.d/pci-{HBA}')
    verdict(lab, 'competing-binder', HBA, 'fail', 'driverctl unset-override')
    verdict(lab, 'competing-binder', KEEP, 'pass')
    lab.run('rm -r /etc/driverctl.d; echo "options vfio-pci ids=1b36:0010" > /etc/modprobe.d/local.conf')
    verdict(lab, 'competing-binder', NVME, 'fail', '/etc/modprobe.d/local.conf')
    verdict(lab, 'competing-binder', HBA, 'pass')
    lab.run('echo "softdep ahci pre: vfio-pci" > /etc/modprobe.d/local.conf')
    verdict(lab, 'competing-binder', HBA, 'warn', 'softdep')
    verdict(lab, 'competing-binder', NVME, 'pass')
    lab.run('rm /etc/modprobe.d/local.conf')


@suite.case
def explained(lab):
    """group-isolated names the hop that the kernel's grouping comes from"""
    verdict(lab, 'group-isolated', TWIN, 'fail', 'isolate is 0000:00:09.0', 'no ACS capability', 'slot below 0000:00:0')
    verdict(lab, 'group-isolated', VIRTIO, 'fail', 'isolate is 0000:05:00.0', 'bridge to conventional PCI')
    verdict(lab, 'group-isolated', ONBOARD, 'fail', 'isolate is 0000:00:1f.2', 'cannot be moved')
    verdict(lab, 'group-isolated', HBA, 'pass')


@suite.case
def functions(lab):
    """reset-method and interrupt-mode warn of the LSI 53c895a alone, twin-device tells that the disks tell twins apart"""
    verdict(lab, 'reset-method', LSI, 'warn', 'cannot be reset', VIRTIO)
    verdict(lab, 'reset-method', NVME, 'pass', 'flr')
    verdict(lab, 'reset-method', HBA, 'info', 'nothing else stays')
    verdict(lab, 'interrupt-mode', LSI, 'warn', 'MSI')
    verdict(lab, 'interrupt-mode', HBA, 'pass')
    verdict(lab, 'twin-device', HBA, 'info', KEEP)
    verdict(lab, 'twin-device', NVME, 'pass')
    for check in ('power-state', 'vmd-or-remapped', 'driver-builtin', 'pcie-link', 'numa-local'):
        verdict(lab, check, NVME, 'pass')


@suite.case
def own_quirk(lab):
    """hardware-quirk tells what the user wrote into /etc/udev/hwdb.d"""
    verdict(lab, 'hardware-quirk', HBA, 'pass')
    lab.write('/run/hwdb/etc/udev/hwdb.d/71-local.hwdb', 'pci:v00008086d00002922*\n PASSTHRU_QUIRK_MINE=warn\n'
              ' PASSTHRU_REASON_MINE=is noisy\n PASSTHRU_SOURCE_MINE=own ears\n')
    lab.run('systemd-hwdb --root=/run/hwdb update && cp /run/hwdb/etc/udev/hwdb.bin /etc/udev')
    verdict(lab, 'hardware-quirk', HBA, 'warn', f'{HBA} is noisy', 'own ears')
    verdict(lab, 'hardware-quirk', NVME, 'pass')
    lab.run('rm /etc/udev/hwdb.bin')
    verdict(lab, 'hardware-quirk', HBA, 'skip', 'systemd-hwdb update')


def main():
    with Lab(name='pci-checks', topology='default', cmdline='intremap=off pcie_acs_override=downstream') as lab:
        installed.install(lab)
        suite.run(lab)


if __name__ == '__main__':
    main()
