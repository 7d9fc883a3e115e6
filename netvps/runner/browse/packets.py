"""Packets of SFTP, version 3 (draft-ietf-secsh-filexfer-02), as far as a server that changes nothing needs them."""

from __future__ import annotations

import os
import stat
import struct
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netvps.domain.snapshot.browse import Entry

MAX_PACKET: Final = 34_000
"""Maximum size of a request, as the draft has it: nothing longer than a path is asked here."""
MAX_READ: Final = 32 * 1024
MAX_NAMES: Final = 64
"""Names in one answer: with two paths of 255 bytes each, that is below 64 KiB."""
LIMITS: Final = b"limits@openssh.com"
_VERSION: Final = 3
_ATTRIBUTES: Final = 0x0F
"""Size, owner, mode and times follow."""


class Kind(IntEnum):
    """Of a packet."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    REPLY = 201


CHANGES: Final = frozenset(
    {Kind.WRITE, Kind.SETSTAT, Kind.FSETSTAT, Kind.REMOVE, Kind.MKDIR, Kind.RMDIR, Kind.RENAME, Kind.SYMLINK}
)


class Status(IntEnum):
    """The outcome of a request."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    UNSUPPORTED = 8


class Fields:
    """Reads the fields of a packet. Raises InvalidInput where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self) -> int:
        """32 bits."""
        return int.from_bytes(self._take(4))

    def long(self) -> int:
        """64 bits."""
        return int.from_bytes(self._take(8))

    def text(self) -> bytes:
        """A string."""
        return self._take(self.number())

    def path(self) -> str:
        """A string as a path."""
        return os.fsdecode(self.text())

    def _take(self, size: int) -> bytes:
        if size > len(self._data):
            raise InvalidInput.of("sftp", "a packet is too short")
        taken, self._data = self._data[:size], self._data[size:]
        return taken


class Buffer:
    """Cuts a stream into packets."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes data, and yields each packet that is whole. Raises InvalidInput for one that is too long."""
        self._data += data
        while len(self._data) >= 4:  # noqa: PLR2004 — the length
            size = int.from_bytes(self._data[:4])
            if not 0 < size <= MAX_PACKET:
                raise InvalidInput.of("sftp", f"a packet of {size} bytes: they have 1 to {MAX_PACKET}")
            if len(self._data) < 4 + size:
                return
            packet = bytes(self._data[4 : 4 + size])
            del self._data[: 4 + size]
            yield packet


def version() -> bytes:
    """The first answer."""
    return _packet(Kind.VERSION, struct.pack(">I", _VERSION) + _text(LIMITS) + _text(b"1"))


def limits(request: int, handles: int) -> bytes:
    """The answer to `limits@openssh.com`."""
    return _packet(Kind.REPLY, struct.pack(">IQQQQ", request, MAX_PACKET, MAX_READ, 0, handles))


def status(request: int, code: Status, message: str = "") -> bytes:
    """An outcome."""
    text = message or code.name.replace("_", " ").capitalize()
    return _packet(Kind.STATUS, struct.pack(">II", request, code) + _text(text.encode()) + _text(b"en"))


def handle(request: int, name: bytes) -> bytes:
    """A handle."""
    return _packet(Kind.HANDLE, struct.pack(">I", request) + _text(name))


def data(request: int, content: bytes) -> bytes:
    """Bytes of a file."""
    return _packet(Kind.DATA, struct.pack(">I", request) + _text(content))


def attributes(request: int, entry: Entry) -> bytes:
    """What is known of a file."""
    return _packet(Kind.ATTRS, struct.pack(">I", request) + _attributes(entry))


def names(request: int, entries: Iterable[Entry]) -> bytes:
    """Files of a folder."""
    packed = [_text(os.fsencode(one.name)) + _text(_long(one)) + _attributes(one) for one in entries]
    return _packet(Kind.NAME, struct.pack(">II", request, len(packed)) + b"".join(packed))


def path(request: int, found: str) -> bytes:
    """A path, without attributes."""
    name = _text(os.fsencode(found))
    return _packet(Kind.NAME, struct.pack(">II", request, 1) + name + name + struct.pack(">I", 0))


def _long(entry: Entry) -> bytes:
    """A line as of `ls -l`."""
    moment = datetime.fromtimestamp(max(0, min(entry.mtime, 1 << 32)), UTC)
    line = f"{stat.filemode(entry.mode)} 1 {entry.uid:<8} {entry.gid:<8} {entry.size:>12} {moment:%Y-%m-%d %H:%M} "
    return line.encode() + os.fsencode(entry.name)


def _attributes(entry: Entry) -> bytes:
    seconds = max(0, min(entry.mtime, (1 << 32) - 1))
    size = min(entry.size, (1 << 64) - 1)
    ids = (min(entry.uid, (1 << 32) - 1), min(entry.gid, (1 << 32) - 1))
    return struct.pack(">IQIIIII", _ATTRIBUTES, size, *ids, entry.mode, seconds, seconds)


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _packet(kind: Kind, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body
