# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns a topology, a short text, into the devices of L1's QEMU. The format is in README.md."""
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST_SLOT = 4          # 1 to 3 are left to the IOMMU and QEMU's own devices
LAST_SLOT = 0x17        # from here on are the lab's own devices
UNITS = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}

# kind: (QEMU device, QEMU device of its disks, the bus of its disks)
CONTROLLERS = {
    'ahci': ('ahci', 'ide-hd', '{name}.{index}'),
    'mptsas1068': ('mptsas1068', 'scsi-hd', '{name}.0'),
    'megasas': ('megasas', 'scsi-hd', '{name}.0'),
    'megasas-gen2': ('megasas-gen2', 'scsi-hd', '{name}.0'),
    'virtio-scsi-pci': ('virtio-scsi-pci', 'scsi-hd', '{name}.0'),
    'lsi53c895a': ('lsi53c895a', 'scsi-hd', '{name}.0'),
    'pvscsi': ('pvscsi', 'scsi-hd', '{name}.0'),
    'builtin': (None, 'ide-hd', 'ide.{index}'),
}
BRIDGES = {'pcie-pci-bridge': 'pcie-pci-bridge', 'upstream': 'x3130-upstream', 'downstream': 'xio3130-downstream'}
PORTS = ('root-port', 'function', 'downstream')
PLAIN = ('e1000', 'e1000e', 'nec-usb-xhci', 'qemu-xhci', 'virtio-rng-pci', 'pci-testdev', 'igb')
OWN_OPTIONS = ('size', 'content', 'serial', 'wwn', 'plug')


class TopologyError(Exception):
    pass


@dataclass
class Disk:
    name: str
    serial: str
    path: Path
    size: int
    content: str = 'random'
    controller: str = ''

    @property
    def node(self):
        return f'node-{self.name}'


@dataclass
class Topology:
    """The arguments for QEMU, and the disks by name."""
    arguments: list = field(default_factory=list)
    disks: dict = field(default_factory=dict)
    devices: dict = field(default_factory=dict)   # name: the device as a list of QEMU properties
    later: list = field(default_factory=list)     # names with plug=later: not there at power-on


def parse_size(text):
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def read(name):
    """The lines of a topology: (name, parent, kind, options)."""
    path = Path(name) if os.sep in str(name) else HERE / 'topologies' / f'{name}.topo'
    try:
        text = path.read_text()
    except FileNotFoundError:
        known = ', '.join(sorted(p.stem for p in (HERE / 'topologies').glob('*.topo')))
        raise TopologyError(f'no topology {name}; there are: {known}') from None
    return parse(text, path.name)


def parse(text, origin='topology'):
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split('#', 1)[0].split()
        if not words:
            continue
        if len(words) < 3 or any('=' not in word for word in words[3:]):
            raise TopologyError(f'{origin}:{number}: expected NAME PARENT KIND [key=value ...]')
        lines.append((*words[:3], dict(word.split('=', 1) for word in words[3:])))
    return lines


class _Builder:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.result = Topology()
        self.kinds = {'pcie': 'root', 'builtin': 'builtin'}
        self.children = {}
        self.slots = {}
        self.functions = {}
        self.next_slot = FIRST_SLOT
        self.ports = 0

    def place(self, name, parent, kind):
        """The bus and address of a device below its parent."""
        above = self.kinds[parent]
        if kind == 'function':          # a further function of a root port's slot
            function = self.functions[parent] = self.functions.get(parent, 0) + 1
            return {'bus': 'pcie.0', 'addr': f'{self.slots[parent]:#x}.{function}'}
        index = self.children[parent] = self.children.get(parent, -1) + 1
        if above == 'root':
            slot = self.slots[name] = self.next_slot
            self.next_slot += 1
            if slot > LAST_SLOT:
                raise TopologyError('too many devices on the root complex')
            return {'bus': 'pcie.0', 'addr': f'{slot:#x}'}
        if above == 'pcie-pci-bridge':
            return {'bus': parent, 'addr': f'{index + 1:#x}'}
        if above == 'upstream':
            return {'bus': parent, 'addr': f'{index:#x}'}
        if above in PORTS:
            return {'bus': parent, 'addr': '0x0'}
        raise TopologyError(f'{name}: nothing goes below {parent} ({above})')

    def device(self, name, driver, options):
        properties = {'driver': driver, 'id': name, **options}
        self.result.devices[name] = properties

    def port(self, name, parent, kind, options):
        self.ports += 1
        properties = self.place(name, parent, kind)
        if kind == 'function':
            properties['multifunction'] = 'on'
        self.device(name, 'xio3130-downstream' if kind == 'downstream' else 'pcie-root-port',
                    {**properties, 'chassis': str(self.ports), 'slot': str(self.ports), **options})

    def disk(self, name, parent, options):
        kind = self.kinds[parent]
        index = self.children[parent] = self.children.get(parent, -1) + 1
        if kind not in CONTROLLERS:
            raise TopologyError(f'{name}: no disk goes below {parent} ({kind})')
        driver, bus = CONTROLLERS[kind][1:]
        if driver == 'ide-hd' and index > 5:
            raise TopologyError(f'{name}: AHCI has six ports')
        properties = {'drive': f'node-{name}', 'bus': bus.format(name=parent, index=index)}
        if driver == 'scsi-hd':
            properties.update({'scsi-id': str(index), 'lun': '0'} if kind != 'virtio-scsi-pci' else
                              {'scsi-id': '0', 'lun': str(index)})
        self.add_disk(name, parent, options, driver, properties)

    def add_disk(self, name, controller, options, driver, properties):
        serial = options.pop('serial', None) or 'L' + secrets.token_hex(6).upper()
        disk = Disk(name, serial, self.folder / f'{name}.raw', parse_size(options.pop('size', '32M')),
                    options.pop('content', 'random'), controller)
        self.result.disks[name] = disk
        self.device(name, driver, {'serial': serial, **properties, **options})

    def add(self, name, parent, kind, options):
        if name in self.kinds:
            raise TopologyError(f'two devices are called {name}')
        if parent not in self.kinds:
            raise TopologyError(f'{name}: there is no {parent} above it')
        self.kinds[name] = kind
        if options.pop('plug', 'now') == 'later' or parent in self.result.later:
            self.result.later.append(name)
        if kind in PORTS:
            self.port(name, parent, kind, options)
        elif kind == 'disk':
            self.disk(name, parent, options)
        elif kind == 'nvme':
            self.add_disk(name, name, options, 'nvme', {'drive': f'node-{name}', **self.place(name, parent, kind)})
        elif kind in CONTROLLERS:
            self.device(name, CONTROLLERS[kind][0], {**self.place(name, parent, kind), **options})
        elif kind in BRIDGES:
            self.device(name, BRIDGES[kind], {**self.place(name, parent, kind), **options})
        elif kind == 'nvme-subsys':     # no device of its own: what an NVMe controller with subsys= belongs to
            self.device(name, kind, options)
        elif kind == 'nvme-bare':       # without a namespace, as QEMU gives its own only to controllers without a subsystem
            self.device(name, 'nvme', {'serial': 'L' + secrets.token_hex(6).upper(), **self.place(name, parent, kind), **options})
        elif kind in PLAIN:
            self.device(name, kind, {**self.place(name, parent, kind), **options})
        else:
            known = ', '.join(sorted({*PORTS, *CONTROLLERS, *BRIDGES, *PLAIN, 'nvme', 'nvme-bare', 'nvme-subsys', 'disk'} - {'builtin'}))
            raise TopologyError(f'{name}: no kind {kind}; there are: {known}')


def block_node(disk):
    return {'driver': 'raw', 'node-name': disk.node, 'file': {
        'driver': 'file', 'filename': str(disk.path), 'locking': 'off', 'aio': 'threads'},
        'cache': {'no-flush': True}}


def make_image(disk):
    """Random content by default, so that a single changed or mixed-up block shows in a hash."""
    with open(disk.path, 'wb') as f:
        if disk.content == 'random':
            for _ in range(disk.size >> 20):
                f.write(os.urandom(1 << 20))
        f.truncate(disk.size)


def build(lines, folder):
    """Reads the lines, draws serials and makes the images of the disks in `folder`."""
    builder = _Builder(folder)
    for name, parent, kind, options in lines:
        builder.add(name, parent, kind, dict(options))
    result = builder.result
    for disk in result.disks.values():
        make_image(disk)
        result.arguments += ['-blockdev', json.dumps(block_node(disk))]
    for name, properties in result.devices.items():
        if name not in result.later:
            driver, *rest = properties.items()
            result.arguments += ['-device', ','.join([driver[1]] + [f'{key}={value}' for key, value in rest])]
    return result
