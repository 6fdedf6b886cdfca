# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws the PCI topology of a machine: root ports with and without ACS, switches, bridges to conventional PCI, slots of several
functions, storage controllers and other devices; and turns it into QEMU's command line and the kernel's."""
from dataclasses import dataclass, field

# QEMU's devices as they appear to a guest. Only pcie-root-port has ACS, with all of its bits: neither ioh3420 nor a port of the
# switch nor any endpoint has it (callers of pcie_acs_init in QEMU).
ROOT_PORTS = ('pcie-root-port', 'ioh3420')
CONTROLLERS = {'ahci': '', 'nvme': 'express', 'megasas': '', 'megasas-gen2': 'express', 'mptsas1068': '', 'virtio-scsi-pci': '',
               'lsi53c895a': '', 'pvscsi': ''}   # "express": does not fit a conventional bus
OTHERS = {'e1000': '', 'e1000e': 'express', 'qemu-xhci': '', 'virtio-rng-pci': '', 'pci-testdev': ''}
DEVICES_MAX = 18
BRIDGES_MAX = 9


@dataclass
class Node:
    """A function. `place` is its device and function number, `multifunction` the bit of its header."""
    kind: str
    parent: 'Node'
    place: tuple
    multifunction: bool = False
    acs: str = ''                  # of a root port: on, off, or "partly": not switched on completely
    options: dict = field(default_factory=dict)
    children: list = field(default_factory=list)

    def path(self):
        """Places from the root bus on: what names a function whatever the numbers of the buses are."""
        return (self.parent.path() if self.parent else ()) + (self.place,)

    def siblings(self, others):
        """The other functions of its slot."""
        return [n for n in others if n is not self and n.parent is self.parent and n.place[0] == self.place[0]]


class Drawing:
    def __init__(self, rng):
        self.rng = rng
        self.nodes = []
        self.bridges = 0
        for place, kind in (((0, 0), 'mch'), ((0x1f, 0), 'lpc'), ((0x1f, 2), 'onboard-ahci'), ((0x1f, 3), 'smbus')):
            self.add(kind, None, place, multifunction=place[0] == 0x1f)
        self.draw()

    # -- chance ------------------------------------------------------------------------------------------------------

    def percent(self, n):
        return self.rng.randrange(100) < n

    def draw(self):
        slots = self.rng.sample(range(2, 0x18), self.rng.randint(3, 6))
        for number, slot in enumerate(sorted(slots)):
            what = self.rng.choices(['ports', 'endpoints', 'bridge'], [65, 25, 10])[0]
            if number == 0 or what == 'ports':
                self.root_ports(slot)
            elif what == 'endpoints':
                self.endpoints(None, slot, True)
            else:
                self.conventional(None, slot, self.rng.choice(['pcie-pci-bridge', 'pci-bridge', 'i82801b11-bridge']))
        if self.percent(20):       # one more SATA controller of the chipset
            self.add('ahci', None, (0x1f, 5), multifunction=self.percent(50))
        if self.percent(20):       # the chipset's USB
            for function, kind in ((0, 'ich9-usb-uhci1'), (1, 'ich9-usb-uhci2'), (7, 'ich9-usb-ehci1')):
                self.add(kind, None, (0x1d, function), multifunction=function == 0 or self.percent(50))

    def acs(self):
        return self.rng.choices(['on', 'off', 'partly'], [45, 30, 25])[0]

    def functions(self, one):
        """How many functions a slot gets."""
        return 1 if self.percent(one) else self.rng.randint(2, 3)

    def add(self, kind, parent, place, **more):
        node = Node(kind, parent, place, **more)
        self.nodes.append(node)
        if parent:
            parent.children.append(node)
        return node

    def room(self):
        return len(self.nodes) < DEVICES_MAX + 4

    def root_ports(self, slot):
        count = self.functions(50)
        alike = self.percent(70) and self.acs()     # ports of one slot mostly are
        for function in range(count):
            if self.bridges >= BRIDGES_MAX:
                return
            self.bridges += 1
            kind, acs = self.rng.choices(ROOT_PORTS, [85, 15])[0], alike or self.acs()
            port = self.add(kind, None, (slot, function), multifunction=count > 1, acs='off' if kind == 'ioh3420' else acs)
            self.below_port(port, 0)

    def below_port(self, port, depth):
        what = self.rng.choices(['nothing', 'endpoints', 'switch', 'bridge'], [12, 60, 18, 10])[0]
        if what == 'nothing' or not self.room():
            return
        if what == 'switch' and depth < 2 and self.bridges + 3 <= BRIDGES_MAX:
            self.switch(port, depth)
        elif what == 'bridge' and self.bridges < BRIDGES_MAX:
            self.conventional(port, 0, 'pcie-pci-bridge')
        else:
            self.endpoints(port, 0, True)

    def switch(self, port, depth):
        """Its downstream ports are devices of their own or, now and then, functions of one."""
        second = self.percent(25)  # a further function beside the upstream port, as switches with a DMA engine have
        upstream = self.add('x3130-upstream', port, (0, 0), multifunction=second)
        if second:
            self.endpoint(port, (0, 1), True)
        count, together = self.rng.randint(1, 3), self.percent(30)
        self.bridges += 1
        for n in range(count):
            if self.bridges >= BRIDGES_MAX:
                return
            self.bridges += 1
            down = self.add('xio3130-downstream', upstream, (0, n) if together else (n, 0), multifunction=together and count > 1)
            self.below_port(down, depth + 1)

    def conventional(self, parent, slot, kind):
        self.bridges += 1
        bridge = self.add(kind, parent, (slot, 0))
        for n in range(1, 1 + self.rng.randint(1, 3)):
            if kind != 'pci-bridge' and self.percent(20) and self.bridges < BRIDGES_MAX and self.room():
                self.conventional(bridge, n, 'pci-bridge')
            else:
                self.endpoints(bridge, n, False)

    def endpoints(self, parent, slot, express):
        count = self.functions(82)
        for function in range(count):
            if function and not self.room():
                return
            # The kernel takes any function but the first for one of several, whatever its header says.
            self.endpoint(parent, (slot, function), express,
                          count > 1 and (function == 0 or self.percent(60)) or (count == 1 and self.percent(5)))

    def endpoint(self, parent, place, express, multifunction=False):
        kinds = CONTROLLERS if self.percent(65) else OTHERS
        kind = self.rng.choice([k for k, needs in kinds.items() if express or not needs])
        options = {'use-intel-id': 'on'} if kind == 'nvme' and self.percent(30) else {}
        self.add(kind, parent, place, multifunction=multifunction, options=options)

    # -- QEMU and kernel -----------------------------------------------------------------------------------------------

    def arguments(self):
        """QEMU's arguments for what is not on the board anyway."""
        line = []
        for number, node in enumerate(self.nodes):
            if node.kind not in ('mch', 'lpc', 'onboard-ahci', 'smbus'):
                line += self.device(number, node)
        return line

    def device(self, number, node):
        bus = f'n{self.nodes.index(node.parent)}' if node.parent else 'pcie.0'
        words = [node.kind, f'id=n{number}', f'bus={bus}', f'addr={node.place[0]:#x}.{node.place[1]}',
                 f'multifunction={"on" if node.multifunction else "off"}', *(f'{k}={v}' for k, v in node.options.items())]
        line = []
        if node.kind in ROOT_PORTS + ('xio3130-downstream',):
            words += [f'port={number}', f'chassis={number}', 'slot=0']
        if node.acs == 'off':
            words.append('disable-acs=on')
        if node.kind == 'pci-bridge':
            words.append(f'chassis_nr={number}')
        if node.kind == 'nvme':
            line = ['-blockdev', f'driver=null-co,node-name=d{number},size=16777216,read-zeroes=on']
            words += [f'drive=d{number}', f'serial=n{number}']
        return [*line, '-device', ','.join(words)]

    def command_line(self):
        """Tells the kernel which ports to leave the redirect bits of ACS off (Documentation/admin-guide/kernel-parameters.txt,
        pci=disable_acs_redir)."""
        partly = [f'0000:00:{n.place[0]:02x}.{n.place[1]}' for n in self.nodes if n.acs == 'partly']
        return 'pci=disable_acs_redir=' + ';'.join(partly) if partly else ''

    def __str__(self):
        return '\n'.join(f'{"  " * (len(n.path()) - 1)}{n.place[0]:02x}.{n.place[1]} {n.kind}'
                         f'{" multifunction" if n.multifunction else ""}{f" acs={n.acs}" if n.acs else ""}'
                         for n in self.in_order())

    def in_order(self):
        return sorted(self.nodes, key=Node.path)
