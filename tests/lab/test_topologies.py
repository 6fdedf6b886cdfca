#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random PCI topologies, each booted: the kernel's IOMMU groups against the rules (kernelgroups.py), and `list`, `group-isolated`
and its explanation against both. PASSTHRU_SEED=N draws others, PASSTHRU_TOPOLOGY=N boots the one of that number alone."""
import collections
import json
import os
import random
import re
import time

import kernelgroups
import tap
from drawing import Drawing
from tinyhost import TinyHost

SEED = os.environ.get('PASSTHRU_SEED', '29')    # its first four have each reason among them
COUNT = 30 if tap.FULL else 4
WHY = {'no ACS': 'no ACS capability', 'ACS not on': 'not switched on', 'bridge': 'bridge to conventional PCI',
       'conventional': 'it is conventional PCI'}
ADDRESS = r'[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]'


class Seen:
    """What the machine's sysfs says, by address and, to compare it with the drawing, by path."""

    def __init__(self, said):
        self.driver, self.group, self.path = {}, {}, {}
        for line in said['functions'].splitlines():
            link, driver, group = line.split()
            places = re.findall(r'/[0-9a-f]{4}:[0-9a-f]{2}:([0-9a-f]{2})\.([0-7])', link)
            address = link.rsplit('/', 1)[1]
            self.path[address] = tuple((int(slot, 16), int(function)) for slot, function in places)
            self.driver[address] = '' if driver == '-' else driver
            self.group[address] = None if group == '-' else int(group)
        self.members = {int(line.split()[0]): set(line.split()[1:]) for line in said['groups'].splitlines()}
        self.viable = dict(line.split() for line in said['viable'].splitlines())

    def groups(self):
        return {frozenset(self.path[a] for a in members) for members in self.members.values()}

    def group_of(self, address):
        return self.members[self.group[address]]

    def others(self, address):
        return self.group_of(address) - {address}

    def isolated(self, address):
        """Nothing else of the group has a driver that uses DMA for the host."""
        return all(self.driver[a] in kernelgroups.HARMLESS_DRIVERS for a in self.others(address))


class Topology:
    def __init__(self, drawing, said, counts):
        self.seen = Seen(said)
        self.drawing, self.counts = drawing, counts
        self.nodes = {node.path(): node for node in drawing.nodes}
        tap.equal(said['list.errors'] + said['preflight.errors'], '', 'standard error of passthructl')
        self.list = {c['address']: c for c in json.loads(said['list.json'])}
        findings = json.loads(said['preflight.json'])['findings']
        self.findings = {f['subject']: f for f in findings if f['check'] == 'group-isolated'}
        tap.equal(said['functions.after'], said['functions'], 'functions after what was given to vfio-pci')

    def node(self, address):
        return self.nodes[self.seen.path[address]]

    def count(self, what, number=1):
        self.counts[what] += number

    def check(self):
        tap.equal(set(self.seen.path.values()), set(self.nodes), 'functions')
        tap.equal(self.seen.groups(), kernelgroups.groups(self.drawing), 'groups of the kernel, against the rules')
        self.count('functions', len(self.nodes))
        self.count('groups', len(self.seen.members))
        storage = {a for a in self.seen.path if a in self.seen.viable}
        tap.equal(set(self.list), storage, 'controllers that list shows')
        tap.equal(set(self.findings), storage, 'controllers with a finding of group-isolated')
        for address in sorted(storage):
            self.controller(address)
        for node in self.drawing.nodes:
            self.alone(node)

    def alone(self, node):
        """Where every hop has ACS the function is alone."""
        address = next(a for a, path in self.seen.path.items() if path == node.path())
        if node.kind not in kernelgroups.BRIDGES and not kernelgroups.gaps(node):
            tap.equal(self.seen.others(address), set(), f'others in the group of {address}, though every hop has ACS')

    def controller(self, address):
        seen, entry, finding = self.seen, self.list[address], self.findings[address]
        tap.equal(entry['iommu_group'], seen.group[address], f'group of {address}')
        tap.equal(sorted(entry['members']), sorted(seen.group_of(address)), f'members of the group of {address}')
        tap.equal(entry['isolated'], seen.isolated(address), f'{address} is isolated')
        tap.equal('yes' if entry['isolated'] else 'no', seen.viable[address], f'{address} could be given away, says VFIO')
        tap.equal(finding['verdict'], 'pass' if entry['isolated'] else 'fail', f'group-isolated of {address}')
        self.count('controllers')
        self.count('isolated', entry['isolated'])
        if not entry['isolated']:
            self.explained(address, finding)
            self.better_slot(address, finding['remedy'])

    def explained(self, address, finding):
        text = next(e for e in finding['evidence'] if e.startswith('explanation'))
        match = re.search(f'first hop that does not isolate is ({ADDRESS}) .*: (.*)$', text)
        if not match:
            raise AssertionError(f'{address}: no hop is named: {text}')
        hop, why = kernelgroups.gaps(self.node(address))[0]
        tap.equal(self.seen.path[match.group(1)], hop.path(), f'hop that explains the group of {address}')
        tap.contains(match.group(2), WHY[why])
        tap.equal(match.group(1) in self.seen.group_of(address), True, f'{match.group(1)} is in the group of {address}')
        self.count(f'explained by {why}')
        named = ' '.join(e for e in finding['evidence'] if 'would lose' in e)
        lost = {a for a in self.seen.others(address) if self.seen.driver[a] not in kernelgroups.HARMLESS_DRIVERS}
        tap.equal(set(re.findall(ADDRESS, named)), lost, f'what the host would lose with {address}')

    def better_slot(self, address, remedy):
        """The port that is named leads nowhere but to a group of its own, and no such port is passed over."""
        match = re.search(f'slot below ({ADDRESS}) has a group of its own and (is empty|now holds)', remedy)
        good = {a for a in self.seen.path if self.is_good_slot(a, address)}
        if not match:
            tap.equal(good, set(), f'slots that would help {address} and are not named')
            return
        tap.equal(match.group(1) in good, True, f'the slot below {match.group(1)} would help {address}')
        tap.equal(match.group(2) == 'is empty', not self.node(match.group(1)).children, f'{match.group(1)} is empty')
        if match.group(2) != 'is empty':
            tap.equal({a for a in good if not self.node(a).children}, set(), 'empty slots that are not named')
        self.count('better slots')

    def is_good_slot(self, port, address):
        node = self.node(port)
        return (node.kind in kernelgroups.PORTS and self.seen.group[port] != self.seen.group[address] and
                not kernelgroups.gaps(node) and all(self.node(a).kind in kernelgroups.BRIDGES for a in self.seen.others(port)))


def main():
    suite = tap.Tap()
    counts = collections.Counter()
    only = os.environ.get('PASSTHRU_TOPOLOGY')
    tap.say(f'PASSTHRU_SEED={SEED}')
    with TinyHost() as host:
        for number in [int(only)] if only else range(COUNT):
            drawing = Drawing(random.Random(f'{SEED}/{number}'))
            with suite.test(f'topology {number} of seed {SEED}: {len(drawing.nodes)} functions'):
                begin = time.monotonic()
                try:
                    said = host.look(f'topology-{number}', drawing.arguments(), drawing.command_line())
                    Topology(drawing, said, counts).check()
                except Exception:
                    tap.say(drawing)
                    raise
                counts['seconds'] += time.monotonic() - begin
                counts['topologies'] += 1
    tap.say(', '.join(f'{value:.0f} {what}' for what, value in sorted(counts.items())))
    if not only and 'PASSTHRU_SEED' not in os.environ:
        with suite.test('each reason to share a group, and isolated controllers, were among them'):
            wanted = ['isolated', 'better slots', *(f'explained by {why}' for why in WHY)]
            tap.equal([what for what in wanted if not counts[what]], [], 'what was not among them')
    suite.end()


if __name__ == '__main__':
    main()
