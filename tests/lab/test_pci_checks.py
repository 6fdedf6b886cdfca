#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the platform and of PCI functions, each in a condition that makes it complain and in one that does not."""
import pathlib
import secrets

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, KEEP, NVME, LSI, VIRTIO, TWIN, ONBOARD = (mainjob.CONTROLLER, '0000:02:00.0', '0000:01:00.0', '0000:06:02.0', '0000:06:01.0',
                                               '0000:07:00.0', '0000:00:1f.2')
GUEST = mainjob.GUEST
DEFAULT = pathlib.Path(__file__).parent / 'topologies/default.topo'
WWN = f'0x5000c500{secrets.token_hex(4)}'
# Beside the default: a card like HBA without disks, one disk with two paths, and a controller that can have virtual functions.
MORE = f"""
port6     pcie     root-port
empty     port6    ahci
port7     pcie     root-port
path1     port7    virtio-scsi-pci
path1-a   path1    disk             size=16M serial=TWOPATHS wwn={WWN}
port8     pcie     root-port
path2     port8    virtio-scsi-pci
path2-a   path2    disk             size=16M serial=TWOPATHS wwn={WWN}
system    pcie     nvme-subsys
port9     pcie     root-port
virtual   port9    nvme-bare        subsys=system sriov_max_vfs=2 sriov_vq_flexible=4 sriov_vi_flexible=2 max_ioqpairs=8
"""


def finding(lab, check, address=None, guest=None):
    """The findings of one check: [(verdict, all its words)]."""
    arguments = ([address] if address else []) + (['--guest', guest] if guest else [])
    found = installed.ctl_json(lab, 'preflight', *arguments)['findings']
    return [(f['verdict'], ' '.join([f['message'], *f['evidence'], f['remedy'] or ''])) for f in found if f['check'] == check]


def verdict(lab, check, address, expected, *words, guest=None):
    found = finding(lab, check, address, guest)
    tap.equal([f[0] for f in found], [expected], f'{check} of {address or "the host"}: {found}')
    tap.contains(found[0][1], *words)
    tap.judged(check, expected)


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
    verdict(lab, 'twin-device', LSI, 'pass')
    for check in ('power-state', 'vmd-or-remapped', 'driver-builtin', 'pcie-link', 'numa-local'):
        verdict(lab, check, NVME, 'pass')


@suite.case
def no_vfio(lab):
    """vfio-available fails on a kernel without VFIO's modules, as Debian's cloud kernel is"""
    lab.run('modprobe -r vfio_pci; m=/lib/modules/$(uname -r); mkdir -p /tmp/none$m && cp $m/modules.builtin* $m/modules.order /tmp/none$m && '
            'depmod -b /tmp/none && mount --bind /tmp/none$m $m', check=False)
    try:
        verdict(lab, 'vfio-available', None, 'fail', 'vfio-pci')
    finally:
        lab.run('umount /lib/modules/$(uname -r)')
    verdict(lab, 'vfio-available', None, 'pass')


@suite.case
def virtual_functions(lab):
    """sr-iov fails while a controller has virtual functions"""
    address = lab.run('ls -d /sys/bus/pci/devices/*/sriov_totalvfs').out.split('/')[-2]
    verdict(lab, 'sr-iov', address, 'pass')
    device = f'/sys/bus/pci/devices/{address}'
    lab.run(f'echo 0 > {device}/sriov_drivers_autoprobe; echo 1 > {device}/sriov_numvfs')
    verdict(lab, 'sr-iov', address, 'fail', 'sriov_numvfs')
    lab.run(f'echo 0 > {device}/sriov_numvfs')


@suite.case
def two_paths(lab):
    """disk-shared-path fails for a disk that another controller reaches as well"""
    one, two = (installed.address_of_disk(lab, disk) for disk in ('path1-a', 'path2-a'))
    verdict(lab, 'disk-shared-path', one, 'fail', two)
    verdict(lab, 'disk-shared-path', HBA, 'pass')


@suite.case
def twin_without_disks(lab):
    """twin-device warns of a card that neither a serial number of its own nor those of disks tell from another"""
    empty = lab.run('for d in /sys/bus/pci/devices/*; do [ $(cat $d/class) = 0x010601 ] && '
                    '! ls -l /sys/block | grep -q ${d##*/}/ && echo ${d##*/}; done', check=False).out.split()
    tap.equal(len(empty), 1, f'AHCI controllers without a disk: {empty}')
    verdict(lab, 'twin-device', empty[0], 'warn', 'only its place')


@suite.case
def failing_disk(lab):
    """smart-health warns of a disk that says that it fails"""
    verdict(lab, 'smart-health', NVME, 'pass')
    lab.qmp('qom-set', path='/machine/peripheral/nvme0', property='smart_critical_warning', value=4)
    verdict(lab, 'smart-health', NVME, 'warn')
    lab.qmp('qom-set', path='/machine/peripheral/nvme0', property='smart_critical_warning', value=0)


@suite.case
def far_memory(lab):
    """numa-local tells when the guest's memory is on another node than the controller, two nodes being faked"""
    l2.define_guest(lab, GUEST, stay=True)
    lab.run(f'echo 1 > /sys/bus/pci/devices/{HBA}/numa_node')
    verdict(lab, 'numa-local', HBA, 'info', 'node 1', guest=GUEST)
    lab.run(f'virsh numatune {GUEST} --mode strict --nodeset 1 --config')
    verdict(lab, 'numa-local', HBA, 'pass', 'node 1', guest=GUEST)


@suite.case
def mainboard(lab):
    """group-platform fails for the chipset's own controller, host-boot-path for that of the root disk"""
    verdict(lab, 'group-platform', ONBOARD, 'fail', 'bridge')
    verdict(lab, 'host-boot-path', installed.root_controller(lab), 'fail', '/')
    verdict(lab, 'host-boot-path', HBA, 'pass')


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


@suite.case
def no_iommu(lab):
    """iommu-enabled fails on a kernel that was told to leave the IOMMU off"""
    lab.reboot(cmdline='intel_iommu=off')
    lab.wait_host()
    verdict(lab, 'iommu-enabled', None, 'fail', 'intel_iommu')


def main():
    topology = DEFAULT.read_text() + MORE
    with Lab(name='pci-checks', topology=topology, cmdline='intremap=off pcie_acs_override=downstream numa=fake=2') as lab:
        installed.install(lab)
        suite.run(lab)


if __name__ == '__main__':
    main()
