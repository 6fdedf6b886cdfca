#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller for which the firmware demands a 1:1 mapping (RMRR) is refused, and QEMU would have failed too."""
import dmar
import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST


@suite.case
def refused(lab):
    """refused: a controller with an RMRR"""
    _, regions = lab.run(f'cat /sys/bus/pci/devices/{HBA}/iommu_group/reserved_regions')
    tap.contains(regions, ' direct\n')
    installed.refused(lab, ['assign', HBA, GUEST, '--yes'], HBA, 'RMRR', 'firmware')
    tap.judged('reserved-region', 'fail')


@suite.case
def qemu_fails_too(lab):
    """without passthru, QEMU fails on the same controller: the refusal was no false alarm"""
    lab.write('/tmp/hostdev.xml', l2.hostdev(HBA))
    lab.run(f"""set -e; modprobe vfio-pci
echo vfio-pci > /sys/bus/pci/devices/{HBA}/driver_override
echo {HBA} > /sys/bus/pci/devices/{HBA}/driver/unbind
echo {HBA} > /sys/bus/pci/drivers_probe
virsh attach-device {GUEST} /tmp/hostdev.xml --config""")
    result = lab.run(f'virsh start {GUEST}', timeout=120, check=False)
    tap.say(result.err)
    tap.equal(result.rc != 0, True, 'virsh start failed')
    tap.contains(result.err, 'Operation not permitted')


def main():
    with Lab(name='rmrr', topology='default') as lab:
        path = dmar.path_of(lab, HBA)
        lab.early_cpio = dmar.dmar_with_rmrr(dmar.read_dmar(lab), path)
        lab.reboot()
        installed.install(lab)
        l2.define_guest(lab, GUEST, stay=True)
        suite.run(lab)


if __name__ == '__main__':
    main()
