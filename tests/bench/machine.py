# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine of any number of PCI functions as a directory laid out like /: for --sysroot, or to be mounted in the place of /sys.

Each root port has one card below it. Of eight cards one is an NVMe drive, one an HBA with a disk, and six are network cards;
each port and each card has an IOMMU group of its own. Disks have names that no real one has."""
import os
import struct

PORTS_PER_DOMAIN = 100
PORT = {'vendor': '0x8086', 'device': '0x347a', 'class': '0x060400'}
NVME = {'vendor': '0x144d', 'device': '0xa808', 'class': '0x010802'}
HBA = {'vendor': '0x1000', 'device': '0x0097', 'class': '0x010700'}
NIC = {'vendor': '0x8086', 'device': '0x1533', 'class': '0x020000'}
CARDS = [(NVME, 'nvme'), (HBA, 'mpt3sas')] + [(NIC, 'igb')] * 6
COMMON = {'subsystem_vendor': '0x15d9', 'subsystem_device': '0x0808', 'revision': '0x01', 'driver_override': '(null)',
          'numa_node': '0', 'irq': '16', 'enable': '1', 'broken_parity_status': '0', 'reset_method': 'flr bus',
          'resource': '\n'.join(['0x0000000000000000 0x0000000000000000 0x0000000000000000'] * 7)}
SERIAL = 0x100  # where the serial number capability is: PCI Express Base Specification 5.0, section 7.9.3


class Tree:
    """Files with the same content are one file, so that 10,000 functions need little space."""

    def __init__(self, root):
        self.root = root
        self.same = {}
        os.makedirs(root)

    def put(self, path, data):
        path = self.root + path
        data = data if isinstance(data, bytes) else (data + '\n').encode()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            if data in self.same:
                os.link(self.same[data], path)
                return
        except OSError:  # the file system allows no more links to one file
            pass
        with open(path, 'wb') as f:
            f.write(data)
        self.same[data] = path

    def link(self, path, target):
        """To an absolute path of the machine; relative, as the kernel makes them."""
        where = os.path.dirname(path)
        os.makedirs(self.root + where, exist_ok=True)
        os.makedirs(self.root + target, exist_ok=True)
        os.symlink(os.path.relpath(target, where), self.root + path)


def config_space(kind, bridge):
    config = bytearray(4096)
    struct.pack_into('<HH', config, 0, int(kind['vendor'], 16), int(kind['device'], 16))
    config[8:12] = struct.pack('<I', int(kind['class'], 16) << 8 | 1)
    config[14] = 1 if bridge else 0
    struct.pack_into('<III', config, SERIAL, 0x00010003, 0x12345678, 0x9abcdef0)
    return bytes(config)


def put_function(tree, path, kind, driver, group):
    address = path.rsplit('/', 1)[1]
    for name, value in {**COMMON, **kind}.items():
        tree.put(f'{path}/{name}', value)
    tree.put(f'{path}/config', config_space(kind, kind is PORT))
    tree.put(f'{path}/modalias', f'pci:v{kind["vendor"]}d{kind["device"]}')
    tree.link(f'/sys/bus/pci/devices/{address}', path)
    tree.link(f'{path}/subsystem', '/sys/bus/pci')
    tree.link(f'{path}/driver', f'/sys/bus/pci/drivers/{driver}')
    tree.link(f'{path}/iommu_group', f'/sys/kernel/iommu_groups/{group}')
    tree.link(f'/sys/kernel/iommu_groups/{group}/devices/{address}', path)
    tree.put(f'/sys/kernel/iommu_groups/{group}/reserved_regions', '0x00000000fee00000 0x00000000feefffff msi')


def put_disk(tree, path, name, number):
    for file, value in {'size': '7814037168', 'ro': '0', 'dev': f'{4000 + number // 1048576}:{number % 1048576}',
                        'device/model': 'BENCH', 'serial': f'BENCH{number:06}'}.items():
        tree.put(f'{path}/{file}', value)
    os.makedirs(f'{tree.root}{path}/holders')
    tree.link(f'/sys/class/block/{name}', path)


def place(number):
    """Domain, device and function of the root port, and the bus below it."""
    domain, port = divmod(number, PORTS_PER_DOMAIN)
    return domain, port // 8, port % 8, port + 1


def make(root, functions):
    """Returns the paths of the cards that are storage controllers."""
    tree = Tree(root)
    controllers = []
    for number in range(functions // 2):
        domain, device, function, bus = place(number)
        port = f'/sys/devices/pci{domain:04x}:00/{domain:04x}:00:{device:02x}.{function}'
        card = f'{port}/{domain:04x}:{bus:02x}:00.0'
        kind, driver = CARDS[number % len(CARDS)]
        put_function(tree, port, PORT, 'pcieport', 2 * number)
        put_function(tree, card, kind, driver, 2 * number + 1)
        if kind is NVME:
            put_disk(tree, f'{card}/nvme/nvme9{number}/nvme9{number}n1', f'nvme9{number}n1', number)
        if kind is HBA:
            put_disk(tree, f'{card}/host{number}/target{number}:0:0/{number}:0:0:0/block/sdbench{number}', f'sdbench{number}', number)
        if kind is not NIC:
            controllers.append(card)
    put_system(tree)
    return controllers


def put_system(tree):
    os.makedirs(f'{tree.root}/sys/devices/virtual/iommu/dmar0')
    tree.link('/sys/class/iommu/dmar0', '/sys/devices/virtual/iommu/dmar0')
    os.makedirs(f'{tree.root}/sys/bus/pci/slots')
    os.makedirs(f'{tree.root}/sys/bus/pci/drivers/vfio-pci', exist_ok=True)
    tree.put('/sys/firmware/acpi/tables/DMAR', 'DMAR')
    tree.put('/proc/cmdline', 'quiet')
    tree.put('/proc/cpuinfo', 'vendor_id\t: GenuineIntel\nflags\t: lm vmx')
    tree.put('/proc/swaps', 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority')
    tree.put('/proc/1/mountinfo', '1 0 0:1 / / rw - tmpfs tmpfs rw')
    tree.put('/etc/fstab', '# none')
