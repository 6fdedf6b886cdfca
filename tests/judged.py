# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests saw of each check: that it speaks up when it should, and passes when it should.

A test that judged a check prints "# judged CHECK VERDICT"; tests/run-tests gives each such line to a Table, with the part it came
from: "lab" is a real kernel on an emulated machine, "hosts" are machines as text."""
import collections
import glob
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE = re.compile(r'^# judged ([a-z-]+) (pass|info|warn|fail|skip)$')
PARTS = ('lab', 'hosts')
# What no emulated machine can be made to show. QEMU's PCIe endpoints always run at the speed that they can, its ACPI has no switch
# for the power of a slot, its machines have no memory with ECC (there the check never passes), and Debian's kernels have neither
# drivers of controllers built in nor VFIO's mode without an IOMMU (CONFIG_VFIO_NOIOMMU). Machines of tests/hosts stand in.
RECORDED = {'vmd-or-remapped', 'driver-builtin', 'ecc-memory', 'power-state', 'pcie-link', 'no-iommu-mode'}


def line(check, verdict):
    return f'# judged {check} {verdict}'


def known_checks():
    """The ids of all checks that there are."""
    ids = set()
    for path in glob.glob(os.path.join(TOP, 'daemon/check/*.c')):
        with open(path) as f:
            ids |= set(re.findall(r'\.id = "([a-z-]+)"', f.read()))
    return ids


# Checks that never warn nor fail: what they inform of is what they are for.
INFORM = {'disk-data', 'ecc-memory', 'numa-local', 'pcie-link'}


class Table:
    def __init__(self):
        self.counts = collections.Counter()  # of (part, check, 'speaks' or 'passes')
        self.parts = set()

    def take(self, part, text):
        match = LINE.match(text)
        if not match or part not in PARTS:
            return
        check, verdict = match.groups()
        self.parts.add(part)
        if verdict == 'pass':
            self.counts[part, check, 'passes'] += 1
        elif verdict in ('warn', 'fail') or (verdict == 'info' and check in INFORM):
            self.counts[part, check, 'speaks'] += 1

    def lines(self):
        if not self.parts:
            return
        yield f'# {"check":26} {"speaks up when it should":^26} {"passes when it should":^26}'
        yield f'# {"":26} {"lab":>12} {"as text":>13} {"lab":>12} {"as text":>13}'
        for check in sorted(known_checks()):
            numbers = [self.counts[part, check, what] for what in ('speaks', 'passes') for part in PARTS]
            yield '# {:26} {:12} {:13} {:12} {:13}'.format(check, *numbers)

    def holes(self):
        """What the table lacks, once all parts ran that it is made of."""
        if self.parts != set(PARTS):
            return
        for check in sorted(known_checks()):
            for what in ('speaks', 'passes'):
                lab, hosts = (self.counts[part, check, what] for part in PARTS)
                if not lab and not (hosts and check in RECORDED):
                    yield f'{check} never {what} in the lab' + ('' if hosts else ', nor on a machine as text')
