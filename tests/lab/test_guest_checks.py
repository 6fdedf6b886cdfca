#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks of the guest on libvirt's domains: each fails or warns when it should, and passes when it should."""
import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST, OTHER = mainjob.CONTROLLER, 'nas', 'other'
SYSTEM = ("<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
          "<libosinfo:os id='http://debian.org/debian/11'/></libosinfo:libosinfo></metadata>")
DISK = "<disk type='{}' device='disk'><driver name='qemu' type='raw'/><source {}/><target dev='{}' bus='{}'/></disk>"
NO_BALLOON = "<memballoon model='none'/>"
seen = {}


def define(lab, name=GUEST, replace=(), devices='', metadata='', **options):
    """Defines the guest anew: (old, new) texts of its XML, more devices, more elements."""
    undefine = f'virsh undefine {name} --managed-save --snapshots-metadata'
    lab.run(undefine, check=False)
    if not (lab.run_folder.share / f'{name}.xml').exists() or options:
        l2.define_guest(lab, name, stay=True, **options)
        lab.run(undefine)
    xml = (lab.run_folder.share / f'{name}.xml').read_text()
    for old, new in (*replace, ('</devices>', f'{devices}</devices>'), ('<vcpu>', f'{metadata}<vcpu>')):
        tap.contains(xml, old)
        xml = xml.replace(old, new)
    lab.write(f'/tmp/{name}.xml', xml)
    lab.run(f'virsh define /tmp/{name}.xml')


def findings(lab, address=HBA, guest=GUEST):
    arguments = [address, '--guest', guest] if guest else [address]
    return {f['check']: f for f in installed.ctl_json(lab, 'preflight', *arguments)['findings']}


def judge(lab, check, verdict, *words, address=HBA):
    """The check's verdict, with the words in what it says."""
    found = findings(lab, address)[check]
    text = ' | '.join([found['message'], *found['evidence'], found['remedy'] or ''])
    tap.say(f'{check}: {found["verdict"]}: {text}')
    tap.equal(found['verdict'], verdict, f'verdict of {check}')
    tap.contains(text, *words)
    tap.judged(check, verdict)
    seen.setdefault(check, set()).add(verdict)


@suite.case
def healthy(lab):
    """a healthy guest passes all of them, and without a guest only guest-conflict is told"""
    define(lab)
    for check, found in findings(lab).items():
        if check.startswith('guest-'):
            tap.equal(found['verdict'], 'pass', f'verdict of {check}: {found["message"]}')
            seen.setdefault(check, set()).add('pass')
    told = [check for check in findings(lab, guest=None) if check.startswith('guest-')]
    tap.equal(told, ['guest-conflict'], 'guest checks without a guest')


@suite.case
def machine(lab):
    """guest-machine warns of i440fx"""
    define(lab, machine='pc')
    judge(lab, 'guest-machine', 'warn', 'i440fx')
    (lab.run_folder.share / f'{GUEST}.xml').unlink()


@suite.case
def memory(lab):
    """guest-memory: more than the host has, alone and together with a guest that starts with the host"""
    define(lab, replace=[("<memory unit='MiB'>288", "<memory unit='GiB'>8")])
    judge(lab, 'guest-memory', 'fail', 'nas: 8.0 GiB', 'MemTotal')
    gigabyte = [("<memory unit='MiB'>288", "<memory unit='MiB'>1600")]
    nic = installed.addresses_of_class(lab, '0200')[0]
    define(lab, replace=gigabyte)
    define(lab, OTHER, replace=gigabyte, devices=l2.hostdev(nic))
    judge(lab, 'guest-memory', 'pass')
    lab.run(f'virsh autostart {OTHER}')
    judge(lab, 'guest-memory', 'fail', 'other: 1.6 GiB')
    lab.run(f'virsh undefine {OTHER}')


@suite.case
def balloon(lab):
    """guest-balloon warns of one in use, not of the one that libvirt adds"""
    define(lab, replace=[(NO_BALLOON, '')])
    judge(lab, 'guest-balloon', 'info')
    define(lab, replace=[(NO_BALLOON, ''), ('<vcpu>', "<currentMemory unit='MiB'>144</currentMemory><vcpu>")])
    judge(lab, 'guest-balloon', 'warn', 'currentMemory')


@suite.case
def option_rom(lab):
    """guest-rom warns of a host device with its option ROM"""
    define(lab, devices=l2.hostdev(HBA))
    judge(lab, 'guest-rom', 'pass')
    define(lab, devices=l2.hostdev(HBA).replace("<rom bar='off'/>", ''))
    judge(lab, 'guest-rom', 'warn', "<rom bar='off'/>")


@suite.case
def paravirtual(lab):
    """guest-virtio warns of an emulated boot disk and network card where the system has virtio drivers"""
    lab.run('qemu-img create -q -f raw /var/lib/libvirt/images/boot.img 1M')
    image = "file='/var/lib/libvirt/images/boot.img'"
    define(lab, devices=DISK.format('file', image, 'sda', 'sata'), metadata=SYSTEM)
    judge(lab, 'guest-virtio', 'warn', 'Debian 11', 'sata')
    define(lab, devices=DISK.format('file', image, 'sda', 'sata'))
    judge(lab, 'guest-virtio', 'skip', 'names no system')
    network = "<interface type='user'><model type='{}'/></interface>"
    define(lab, devices=DISK.format('file', image, 'vda', 'virtio') + network.format('virtio'), metadata=SYSTEM)
    judge(lab, 'guest-virtio', 'pass')
    define(lab, devices=DISK.format('file', image, 'vda', 'virtio') + network.format('e1000e'), metadata=SYSTEM)
    judge(lab, 'guest-virtio', 'warn', 'e1000e')


@suite.case
def saved(lab):
    """guest-autostart: a managed-save image and a snapshot with memory; autostart is information"""
    define(lab, replace=[(" migratable='off'", '')])
    lab.run(f'virsh autostart {GUEST}')
    judge(lab, 'guest-autostart', 'info')
    lab.run(f'virsh autostart --disable {GUEST}; virsh start {GUEST} --paused && virsh managedsave {GUEST} --paused', timeout=180)
    judge(lab, 'guest-autostart', 'warn', 'managedsave-remove')
    lab.run(f'virsh managedsave-remove {GUEST}; virsh dumpxml --inactive {GUEST} > /tmp/domain.xml; '
            '(echo "<domainsnapshot><name>one</name><state>running</state><creationTime>1</creationTime>'
            '<memory snapshot=\'external\' file=\'/tmp/none\'/>"; cat /tmp/domain.xml; echo "</domainsnapshot>") > /tmp/snapshot.xml; '
            f'virsh snapshot-create {GUEST} /tmp/snapshot.xml --redefine')
    judge(lab, 'guest-autostart', 'warn', 'snapshot-delete')
    define(lab)
    judge(lab, 'guest-autostart', 'pass')


@suite.case
def ports(lab):
    """guest-ports agrees with libvirt about what a running guest can take"""
    nvme = installed.address_of_disk(lab, 'nvme0')
    define(lab, replace=[(l2.BRIDGE, '')], ports=1)
    judge(lab, 'guest-ports', 'pass')
    lab.run(f'virsh start {GUEST}', timeout=120)
    judge(lab, 'guest-ports', 'fail', 'conventional')
    for number in range(8):
        lab.write('/tmp/disk.xml', DISK.format('file', f"file='/tmp/disk{number}.img'", f'vd{chr(98 + number)}', 'virtio'))
        lab.run(f'qemu-img create -q -f raw /tmp/disk{number}.img 1M')
        free = findings(lab, nvme)['guest-ports']['verdict'] == 'pass'
        plugged = lab.run(f'virsh attach-device {GUEST} /tmp/disk.xml --live', check=False, timeout=60)
        tap.say(f'device {number}: guest-ports {"passes" if free else "fails"}, libvirt: {plugged.out.strip()}{plugged.err.strip()}')
        tap.equal(plugged.rc == 0, free, 'libvirt agrees')
        if not free:
            break
    judge(lab, 'guest-ports', 'fail', 'Shut guest nas down', address=nvme)
    lab.run(f'virsh destroy {GUEST}')
    (lab.run_folder.share / f'{GUEST}.xml').unlink()


@suite.case
def own_disks(lab):
    """guest-disk-on-controller: a disk by its id, a file, a volume of a pool that is active or not, a SCSI and an NVMe disk"""
    nodes = {name: installed.node_of_disk(lab, name) for name in ('hba-a', 'hba-b', 'keep-a')}
    ids = {name: lab.run(f'find -L /dev/disk/by-id -samefile {node} | head -1').out.strip() for name, node in nodes.items()}
    define(lab, devices=DISK.format('block', f"dev='{ids['hba-b']}'", 'vda', 'virtio'))
    judge(lab, 'guest-disk-on-controller', 'fail', 'boot disk vda', ids['hba-b'])
    define(lab, devices=DISK.format('block', f"dev='{ids['keep-a']}'", 'vda', 'virtio'))
    judge(lab, 'guest-disk-on-controller', 'pass')
    lab.run(f'mke2fs -q -F -t ext4 {nodes["hba-a"]} && '
            f'virsh pool-define-as tank fs --source-dev {nodes["hba-a"]} --source-format ext4 --target /srv/tank && '
            'mkdir -p /srv/tank && virsh pool-start tank && virsh vol-create-as tank boot.img 1M', timeout=60)
    define(lab, devices=DISK.format('volume', "pool='tank' volume='boot.img'", 'vda', 'virtio'))
    judge(lab, 'guest-disk-on-controller', 'fail', 'volume boot.img of storage pool tank')
    define(lab, devices=DISK.format('file', "file='/srv/tank/boot.img'", 'vda', 'virtio'))
    judge(lab, 'guest-disk-on-controller', 'fail', '/srv/tank/boot.img')
    lab.run('virsh pool-destroy tank')
    define(lab, devices=DISK.format('volume', "pool='tank' volume='boot.img'", 'vda', 'virtio'))
    judge(lab, 'guest-disk-on-controller', 'fail', nodes['hba-a'])
    lab.run('virsh pool-undefine tank')
    judge(lab, 'guest-disk-on-controller', 'skip', 'tank')
    lab.run(f'wipefs -qa {nodes["hba-a"]}')
    define(lab, devices=scsi_device(lab, nodes['hba-b']))
    judge(lab, 'guest-disk-on-controller', 'fail', 'SCSI device')
    nvme = installed.address_of_disk(lab, 'nvme0')
    define(lab, devices=nvme_disk(nvme))
    judge(lab, 'guest-disk-on-controller', 'fail', 'nvme', address=nvme)
    define(lab)


def scsi_device(lab, node):
    host, bus, target, unit = lab.run(f'basename $(realpath /sys/block/{node[5:]}/device)').out.strip().split(':')
    return ("<controller type='scsi' index='0' model='virtio-scsi'/><hostdev mode='subsystem' type='scsi'><source>"
            f"<adapter name='scsi_host{host}'/><address bus='{bus}' target='{target}' unit='{unit}'/></source></hostdev>")


def nvme_disk(address):
    domain, bus, slot = address.split(':')
    return ("<disk type='nvme' device='disk'><driver name='qemu' type='raw'/><source type='pci' managed='no' namespace='1'>"
            f"<address domain='0x{domain}' bus='0x{bus}' slot='0x{slot[:2]}' function='0x{slot[3]}'/></source>"
            "<target dev='vda' bus='virtio'/></disk>")


@suite.case
def conflict(lab):
    """guest-conflict: another guest's host device, SCSI device and NVMe disk"""
    nvme = installed.address_of_disk(lab, 'nvme0')
    for devices, address, word in ((l2.hostdev(HBA), HBA, 'belongs to guest other'), (nvme_disk(nvme), nvme, 'nvme'),
                                   (scsi_device(lab, installed.node_of_disk(lab, 'hba-b')), HBA, 'SCSI device')):
        define(lab, OTHER, devices=devices)
        judge(lab, 'guest-conflict', 'fail', word, address=address)
    lab.run(f'virsh undefine {OTHER}')
    judge(lab, 'guest-conflict', 'pass')


@suite.case
def all_were_seen(lab):
    """each check was seen to pass, and to fail or warn"""
    tap.say('\n'.join(f'{check}: {", ".join(sorted(verdicts))}' for check, verdicts in sorted(seen.items())))
    for check, verdicts in seen.items():
        tap.equal('pass' in verdicts and bool(verdicts & {'fail', 'warn'}), True, f'both verdicts of {check}')
    tap.equal(len(seen), 9, 'guest checks')


def main():
    with Lab(name='guests', topology='default') as lab:
        installed.install(lab)
        suite.run(lab)


if __name__ == '__main__':
    main()
