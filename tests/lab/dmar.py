# SPDX-License-Identifier: GPL-2.0-or-later
"""Injects an ACPI DMAR table with an RMRR, the memory region that firmware claims for a device: the kernel then refuses to
hand that device to a guest. The kernel takes the table from an uncompressed cpio before the initrd, if its OEM revision
is higher than that of the table in the firmware."""
import struct

HEADER = struct.Struct('<4sIBB6s8sI4sI')
OEM_REVISION = 24
STRUCTURES = 48
NAME = 'kernel/firmware/acpi/dmar.aml'


def rmrr(path, start, end, segment=0, bus=0):
    """`path`: [(device, function), ...] from the root bus down, as in ACPI's device scopes."""
    scope = struct.pack('<BBHBB', 1, 6 + 2 * len(path), 0, 0, bus) + bytes(part for hop in path for part in hop)
    return struct.pack('<HHHHQQ', 1, 24 + len(scope), 0, segment, start, end) + scope


def with_checksum(table):
    table = bytearray(table)
    table[9] = 0
    table[9] = -sum(table) & 0xff
    return bytes(table)


def dmar_with_rmrr(original, path, start=0xf0000, end=0xfffff, segment=0, bus=0):
    """The early cpio for Lab(early_cpio=...): `original` is L1's /sys/firmware/acpi/tables/DMAR, and the RMRR names the
    device at `path`. Fixed order of structures: DRHD first, then RMRR, then the rest."""
    drhd, rest = b'', b''
    offset = STRUCTURES
    while offset < len(original):
        kind, length = struct.unpack_from('<HH', original, offset)
        part = original[offset:offset + length]
        drhd, rest = (drhd + part, rest) if kind == 0 else (drhd, rest + part)
        offset += length
    table = bytearray(original[:STRUCTURES] + drhd + rmrr(path, start, end, segment, bus) + rest)
    struct.pack_into('<I', table, 4, len(table))
    revision = struct.unpack_from('<I', table, OEM_REVISION)[0]
    struct.pack_into('<I', table, OEM_REVISION, revision + 1)
    return early_cpio({NAME: with_checksum(table)})


def early_cpio(files):
    """An uncompressed cpio (newc) of files, with their folders, padded so that another archive may follow."""
    folders = sorted({'/'.join(name.split('/')[:depth]) for name in files for depth in range(1, name.count('/') + 1)})
    archive = b''.join(_entry(name, b'', 0o040755) for name in folders)
    archive += b''.join(_entry(name, data, 0o100644) for name, data in files.items())
    archive += _entry('TRAILER!!!', b'', 0)
    return archive + b'\0' * (-len(archive) % 512)


def _entry(name, data, mode):
    encoded = name.encode() + b'\0'
    fields = [0, mode, 0, 0, 2 if mode & 0o040000 else 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
    head = b'070701' + b''.join(b'%08X' % value for value in fields) + encoded
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def path_of(lab, address):
    """The path of a device of L1 from the root bus, for dmar_with_rmrr."""
    real = lab.run(['readlink', '-f', f'/sys/bus/pci/devices/{address}']).out.strip()
    hops = [part for part in real.split('/') if part.count(':') == 2 and '.' in part]
    return [(int(hop[-4:-2], 16), int(hop[-1])) for hop in hops]


def read_dmar(lab):
    """L1's DMAR table."""
    return lab.fetch('/sys/firmware/acpi/tables/DMAR').read_bytes()
