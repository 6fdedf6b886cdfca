# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's rules for IOMMU groups (pci_device_group, drivers/iommu/iommu.c; pci_acs_enabled, drivers/pci/pci.c; Linux 6.1),
written from the rules and applied to a drawn topology: what passthru must agree with, and shares no code with."""
from drawing import ROOT_PORTS

# Bridges whose requests from below carry the bridge's name: all behind them is one device to the IOMMU.
ALIASING = ('pcie-pci-bridge', 'pci-bridge', 'i82801b11-bridge')
BRIDGES = ROOT_PORTS + ALIASING + ('x3130-upstream', 'xio3130-downstream')
EXPRESS = ROOT_PORTS + ('x3130-upstream', 'xio3130-downstream', 'nvme', 'megasas-gen2', 'e1000e')  # wherever they are
EXPRESS_BELOW_PORTS = ('virtio-scsi-pci', 'virtio-rng-pci')   # conventional on the root bus and behind bridges
PORTS = ROOT_PORTS + ('xio3130-downstream',)

# Drivers that leave DMA alone until a guest has the device, and so do not claim it for the host (driver_managed_dma).
HARMLESS_DRIVERS = ('', 'vfio-pci', 'pci-stub', 'pcieport')


def is_express(node):
    if node.kind in EXPRESS_BELOW_PORTS:
        return node.parent is not None and node.parent.kind not in ALIASING
    if node.kind in ('qemu-xhci', 'pvscsi'):
        return node.parent is None or node.parent.kind not in ALIASING
    return node.kind in EXPRESS


def is_multifunction(node):
    """pci_scan_slot, drivers/pci/probe.c: the bit of the header, and every function but the first."""
    return node.multifunction or node.place[1] > 0


def lacks(node):
    """Why a function does not keep the requests that pass through it apart; None when it does."""
    if node.parent is None and (node.kind == 'e1000e' or node.options.get('use-intel-id')):
        return None     # Intel's devices in the root complex: pci_quirk_rciep_acs
    if not is_express(node):
        return 'bridge' if node.kind == 'pcie-pci-bridge' else 'conventional'
    if node.kind in PORTS:
        return {'on': None, 'off': 'no ACS', 'partly': 'ACS not on', '': 'no ACS'}[node.acs]
    return 'no ACS' if is_multifunction(node) else None


def hops(node):
    """The bridges above a function, from the nearest to the root."""
    while node.parent:
        node = node.parent
        yield node


def gaps(node):
    """What may have put others into the group of this function, the nearest first: (hop, why)."""
    own = [(node, lacks(node))] if is_multifunction(node) or node.kind in BRIDGES else []
    return [(hop, why) for hop, why in own + [(hop, lacks(hop)) for hop in hops(node)] if why]


def groups(drawing):
    """The groups as a set of sets of paths."""
    group = {}
    for node in sorted(drawing.nodes, key=lambda n: (len(n.path()), n.path())):     # bridges before what is below them
        group[node.path()] = joined(node, group, drawing.nodes) or {node.path()}
        group[node.path()].add(node.path())
    return {frozenset(members) for members in group.values()}


def joined(node, group, nodes):
    above = list(hops(node))
    for hop in above:
        if hop.kind in ALIASING:
            return group[hop.path()]
    if any(lacks(hop) for hop in above):
        return group[above[0].path()]
    if not is_multifunction(node) or not lacks(node):
        return None
    for other in node.siblings(nodes):
        if lacks(other) and other.path() in group:
            return group[other.path()]
    return None
