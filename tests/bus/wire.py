# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks D-Bus itself: fast, without a main loop, and able to send what a library would refuse to send."""
import os
import select
import socket
import struct
import time

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NO_REPLY, INTERACTIVE = 1, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
FIELD_TYPES = {PATH: 'o', REPLY_SERIAL: 'u', SIGNATURE: 'g'}
FIXED = {'y': 'B', 'b': 'I', 'n': 'h', 'q': 'H', 'i': 'i', 'u': 'I', 'x': 'q', 't': 'Q', 'd': 'd', 'h': 'I'}
BUS = 'org.freedesktop.DBus'


class BusError(Exception):
    """An error reply: .name and .text."""

    def __init__(self, name, text):
        super().__init__(f'{name}: {text}')
        self.name, self.text = name, text


def split(signature):
    """The complete types of a signature: 'a{sv}(ii)s' is ['a{sv}', '(ii)', 's']."""
    types, begin = [], 0
    while begin < len(signature):
        end = begin
        while signature[end] == 'a':
            end += 1
        depth = 0
        while True:
            depth += {'(': 1, '{': 1, ')': -1, '}': -1}.get(signature[end], 0)
            end += 1
            if depth == 0:
                break
        types.append(signature[begin:end])
        begin = end
    return types


def alignment(kind):
    return {'y': 1, 'g': 1, 'v': 1, 'n': 2, 'q': 2, 'x': 8, 't': 8, 'd': 8, '(': 8, '{': 8}.get(kind, 4)


def pad(data, size):
    data += bytes(-len(data) % size)


def put(data, signature, value):
    """Appends one value; an array of bytes may be given as bytes, a variant is (signature, value)."""
    kind = signature[0]
    pad(data, alignment(kind))
    if kind in FIXED:
        data += struct.pack('<' + FIXED[kind], value)
    elif kind in 'so':
        text = value if isinstance(value, bytes) else value.encode()
        data += struct.pack('<I', len(text)) + text + b'\0'
    elif kind == 'g':
        data += bytes([len(value)]) + value.encode() + b'\0'
    elif kind == 'v':
        put(data, 'g', value[0])
        put(data, *value)
    elif kind == 'a':
        data += bytes(4)
        at = len(data) - 4
        pad(data, alignment(signature[1]))
        begin = len(data)
        for item in value.items() if isinstance(value, dict) else value:
            put(data, signature[1:], item)
        struct.pack_into('<I', data, at, len(data) - begin)
    else:
        for part, item in zip(split(signature[1:-1]), value):
            put(data, part, item)


def take(data, at, signature):
    """Reads one value: (value, where it ends)."""
    kind = signature[0]
    at += -at % alignment(kind)
    if kind in FIXED:
        value, = struct.unpack_from('<' + FIXED[kind], data, at)
        return (bool(value) if kind == 'b' else value), at + struct.calcsize('<' + FIXED[kind])
    if kind in 'so':
        size, = struct.unpack_from('<I', data, at)
        return data[at + 4:at + 4 + size].decode(), at + 5 + size
    if kind == 'g':
        return data[at + 1:at + 1 + data[at]].decode(), at + 2 + data[at]
    if kind == 'v':
        inner, at = take(data, at, 'g')
        return take(data, at, inner)
    if kind == 'a':
        size, = struct.unpack_from('<I', data, at)
        at += 4 + -(at + 4) % alignment(signature[1])
        items, end = [], at + size
        while at < end:
            item, at = take(data, at, signature[1:])
            items.append(item)
        return (dict(items) if signature[1] == '{' else items), at
    items = []
    for part in split(signature[1:-1]):
        item, at = take(data, at, part)
        items.append(item)
    return tuple(items), at


class Message:
    def __init__(self, kind, flags, serial, fields, body):
        self.kind, self.flags, self.serial, self.fields, self.body = kind, flags, serial, fields, body

    def arguments(self):
        values, at = [], 0
        for part in split(self.fields.get(SIGNATURE, '')):
            value, at = take(self.body, at, part)
            values.append(value)
        return values


class Connection:
    """One connection to the bus at a socket, as another user if wanted. For one thread at a time."""

    def __init__(self, address, uid=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.data, self.serial, self.waiting = b'', 0, []
        # The bus takes the user from the socket as it is connected.
        if uid is not None:
            os.seteuid(uid)
        try:
            self.socket.connect(address.removeprefix('unix:path='))
        finally:
            if uid is not None:
                os.seteuid(0)
        user = str(uid if uid is not None else os.geteuid()).encode().hex()
        self.socket.sendall(b'\0AUTH EXTERNAL ' + user.encode() + b'\r\n')
        answer = self.socket.recv(256)
        if not answer.startswith(b'OK'):
            raise ConnectionError(answer)
        self.socket.sendall(b'BEGIN\r\n')
        self.name = self.call(BUS, '/org/freedesktop/DBus', BUS, 'Hello')[0]

    def close(self):
        self.socket.close()

    def send(self, kind, fields, signature='', arguments=(), flags=0):
        """Queues nothing: the message is in the socket when this returns. Its serial number."""
        body = bytearray()
        for part, value in zip(split(signature), arguments):
            put(body, part, value)
        self.serial += 1
        if signature:
            fields = {**fields, SIGNATURE: signature}
        data = bytearray(struct.pack('<BBBBII', ord('l'), kind, flags, 1, len(body), self.serial))
        put(data, 'a(yv)', [(code, (FIELD_TYPES.get(code, 's'), value)) for code, value in fields.items()])
        pad(data, 8)
        self.socket.sendall(data + body)
        return self.serial

    def send_call(self, destination, path, interface, member, signature='', arguments=(), flags=0):
        return self.send(CALL, {PATH: path, INTERFACE: interface, MEMBER: member, DESTINATION: destination}, signature,
                         arguments, flags)

    def reply(self, message, signature='', arguments=()):
        self.send(RETURN, {REPLY_SERIAL: message.serial, DESTINATION: message.fields[SENDER]}, signature, arguments)

    def reply_error(self, message, name, text):
        self.send(ERROR, {REPLY_SERIAL: message.serial, DESTINATION: message.fields[SENDER], ERROR_NAME: name}, 's',
                  [text])

    def parse(self):
        """The next message of what was received, or None."""
        if len(self.data) < 16:
            return None
        _, kind, flags, _, size, serial, size_of_fields = struct.unpack_from('<BBBBIII', self.data)
        header = 16 + size_of_fields + -size_of_fields % 8
        if len(self.data) < header + size:
            return None
        fields, _ = take(self.data, 12, 'a(yv)')
        body, self.data = self.data[header:header + size], self.data[header + size:]
        return Message(kind, flags, serial, dict(fields), body)

    def receive(self, seconds):
        """The next message, or None when there is none in time. Raises ConnectionError when the bus hangs up."""
        if self.waiting:
            return self.waiting.pop(0)
        return self.read(seconds)

    def read(self, seconds):
        end = time.monotonic() + seconds
        while True:
            message = self.parse()
            if message:
                return message
            if not select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                return None
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError('the bus has hung up')
            self.data += data

    def answer(self, serial, seconds=60):
        """The arguments of the reply to that call; other messages are kept for receive()."""
        end = time.monotonic() + seconds
        for i, message in enumerate(self.waiting):
            if message.fields.get(REPLY_SERIAL) == serial:
                return self.result(self.waiting.pop(i))
        while True:
            message = self.read(max(0, end - time.monotonic()))
            if not message:
                raise TimeoutError(f'no reply within {seconds} s')
            if message.fields.get(REPLY_SERIAL) == serial:
                return self.result(message)
            self.waiting.append(message)

    @staticmethod
    def result(message):
        arguments = message.arguments()
        if message.kind == ERROR:
            raise BusError(message.fields[ERROR_NAME], arguments[0] if arguments else '')
        return arguments

    def call(self, destination, path, interface, member, signature='', arguments=(), flags=0, seconds=60):
        return self.answer(self.send_call(destination, path, interface, member, signature, arguments, flags), seconds)
