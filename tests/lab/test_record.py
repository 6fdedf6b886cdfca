#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording made on a host gives the host's findings, and holds nothing that tells whose host it was."""
import json
import secrets
import tarfile

import installed
import l2
import mainjob
import tap
from lab import Lab
from tap import Tap

suite = Tap()
HBA, GUEST = mainjob.CONTROLLER, mainjob.GUEST
HOST_NAME = 'host-' + secrets.token_hex(4)
KEY, PASSWORD = secrets.token_hex(8), secrets.token_hex(4)
MAC = '52:54:00:' + ':'.join(secrets.token_hex(1) for _ in range(3))
DEVICES = f"""<graphics type='vnc' port='-1' passwd='{PASSWORD}'/>
<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>"""


def set_up(lab):
    """A host with something to tell: disks in use, a guest, a name of its own."""
    lab.run(f'hostname {HOST_NAME} && hostname > /etc/hostname')
    disk, other = (installed.node_of_disk(lab, name) for name in ('hba-a', 'keep-a'))
    lab.run(f'mke2fs -q -F -t ext4 {disk} && mkdir -p /srv/tank && mount {disk} /srv/tank && mkswap -q {other} && swapon {other} && '
            f'echo "UUID=$(blkid -s UUID -o value {disk}) /srv/tank ext4 password={PASSWORD} 0 2" >> /etc/fstab')
    l2.define_guest(lab, GUEST, devices=DEVICES + l2.hostdev(HBA))


def findings(lab, *arguments):
    """What preflight finds, in an order of its own."""
    found = installed.ctl_json(lab, 'preflight', *arguments)['findings']
    for finding in found:
        finding['evidence'].sort()
    return sorted(found, key=lambda f: (f['subject'] or '', f['check'], f['message']))


def identity(lab):
    """Every serial number, UUID, MAC address, secret and name that the recording must not hold."""
    words = {disk.serial for disk in lab.disks.values()} | {HOST_NAME, KEY, PASSWORD, MAC}
    for command in ('lsblk -dno SERIAL', 'lsblk -no UUID', 'lsblk -no PARTUUID', 'lsblk -no PTUUID', 'cat /etc/machine-id',
                    'cat /proc/sys/kernel/random/boot_id', f'virsh domuuid {GUEST}', 'cat /sys/class/net/*/address',
                    'lsblk -no WWN | sed s/^0x//'):
        words |= {word for word in lab.run(command).out.split() if len(word) > 3 and word != '00:00:00:00:00:00'}
    return words


def pci_serials(lab):
    """{address: serial number} as lspci prints them: aa-bb-cc-dd-ee-ff-00-11, the highest byte first."""
    _, out = lab.run("lspci -Dvv | awk '/^[0-9a-f]/ { a = $1 } /Device Serial Number/ { print a, $NF }'")
    return dict(line.split() for line in out.splitlines())


def leaks(lab, folder):
    """Which of these are in the recording's names, links and contents."""
    lab.run(f'tar -C / -cf /tmp/recording.tar {folder.lstrip("/")}')
    words = {word.lower().encode(): word for word in identity(lab)}
    for serial in pci_serials(lab).values():
        words[bytes.fromhex(serial.replace('-', ''))[::-1]] = serial
    found = set()
    with tarfile.open(lab.fetch('/tmp/recording.tar')) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member).read() if member.isreg() else b''
            text = f'{member.name}\n{member.linkname}\n'.encode().lower() + content.lower()
            found |= {f'{word} in {member.name}' for raw, word in words.items() if raw in text or raw in content}
    return found, len(words)


@suite.case
def same_findings(lab):
    """preflight on the recording finds what preflight on the host finds, word for word"""
    live = findings(lab)
    installed.must(lab, 'record', '/root/raw', '--raw')
    tap.equal(findings(lab, '--sysroot', '/root/raw'), live, 'findings on the recording')
    verdicts = [f['verdict'] for f in live]
    tap.say(f'{len(live)} findings: ' + ', '.join(f'{verdicts.count(v)} {v}' for v in sorted(set(verdicts))))
    tap.contains(json.dumps(live), 'is in use', 'swap', 'belongs to guest')
    listed = [{k: v for k, v in c.items() if k != 'guests_problem'} for c in installed.ctl_json(lab, 'list', '--sysroot', '/root/raw')]
    tap.equal([c['address'] for c in listed], [c['address'] for c in installed.ctl_json(lab, 'list')], 'controllers')


@suite.case
def same_findings_without_names(lab):
    """the same with aliases, which have the length of what they stand for"""
    def shape(found):
        return [(f['check'], f['subject'], f['verdict'], len(f['message']), len(f['evidence']), f['remedy']) for f in found]
    installed.must(lab, 'record', '/root/recording')
    tap.equal(shape(findings(lab, '--sysroot', '/root/recording')), shape(findings(lab)), 'findings on the recording')


@suite.case
def nothing_tells_whose_it_is(lab):
    """no serial number, UUID, MAC address, host name or secret of the host is in the recording"""
    found, looked_for = leaks(lab, '/root/recording')
    tap.say(f'{looked_for} names and numbers looked for')
    tap.equal(found, set(), 'found in the recording')
    tap.equal(len(pci_serials(lab)) > 0, True, 'a PCIe serial number was there to be found')
    found, _ = leaks(lab, '/root/raw')
    tap.equal(len(found) > 10, True, 'the raw recording holds them')


@suite.case
def never_over_something(lab):
    """a directory that exists already is refused, and another user is told what is missing"""
    status, out, err = installed.ctl(lab, 'record', '/root/recording')
    tap.equal((status, out), (1, ''))
    tap.contains(err, '/root/recording', 'exist')
    out = lab.run('cd /tmp && runuser -u nobody -- passthructl record /tmp/mine && passthructl --json preflight --sysroot /tmp/mine',
                  timeout=120, check=False).out
    tap.contains(out, 'without root', '"findings"')


def main():
    with Lab(name='record', topology='default', cmdline=f'rd.luks.key={KEY}') as lab:
        installed.install(lab)
        set_up(lab)
        suite.run(lab)


if __name__ == '__main__':
    main()
