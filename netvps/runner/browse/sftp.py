"""An SFTP server that changes nothing: one request at a time, in the order in which they come.

Symbolic links are shown and never followed: they may point anywhere, and what they mean holds in a session, not here.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Final

from netvps.domain.pieces import pieces
from netvps.errors import InvalidInput, NetvpsError, TimedOut
from netvps.runner.browse import packets
from netvps.runner.browse.packets import CHANGES, LIMITS, MAX_NAMES, MAX_READ, Buffer, Fields, Kind, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from netvps.domain.snapshot.browse import Entry
    from netvps.runner.browse.root import Root

IDLE_SECONDS: Final = 600.0
"""A client that asks nothing for this long is ended: an open snapshot takes memory."""
_MAX_HANDLES: Final = 64
_MAX_PATH: Final = 4096
_READ_ONLY: Final = "snapshots are read-only: restore or clone one to change files"
_WRITES: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x20
"""Flags of OPEN that are not for reading."""


class _Folder:
    """A folder that is being listed."""

    def __init__(self, entries: list[Entry]) -> None:
        self.left = entries


class SftpServer:
    """Serves one client."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._handles: dict[bytes, str | _Folder] = {}
        """Paths of files, and folders."""
        self._next = 0

    async def serve(self, incoming: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yields the answers to what comes in, in pieces for messages. Raises InvalidInput, TimedOut."""
        buffer = Buffer()
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    received = await anext(incoming, None)
            except TimeoutError:
                raise TimedOut(f"nothing was asked for {IDLE_SECONDS:.0f} s: connect again") from None
            if received is None:
                return
            for packet in buffer.feed(received):
                for piece in pieces(await self._answered(packet)):
                    yield piece

    async def _answered(self, packet: bytes) -> bytes:
        fields = Fields(packet[1:])
        kind, request = packet[0], fields.number()
        if kind == Kind.INIT:
            return packets.version()
        try:
            return await self._answer(kind, request, fields)
        except FileNotFoundError:
            return packets.status(request, Status.NO_SUCH_FILE)
        except OSError as error:
            return packets.status(request, Status.FAILURE, error.strerror or "not possible with this file")
        except InvalidInput as error:
            return packets.status(request, Status.BAD_MESSAGE, error.violations[0].description)
        except NetvpsError as error:
            return packets.status(request, Status.FAILURE, error.message)

    async def _answer(self, kind: int, request: int, fields: Fields) -> bytes:  # noqa: C901, PLR0911 — one case per request
        match kind:
            case Kind.REALPATH:
                return packets.path(request, self._root.absolute(_path(fields)))
            case Kind.STAT | Kind.LSTAT:
                return packets.attributes(request, await self._root.entry(self._root.absolute(_path(fields))))
            case Kind.FSTAT:
                return packets.attributes(request, await self._root.entry(self._file(fields)))
            case Kind.OPEN:
                return await self._open(request, self._root.absolute(_path(fields)), fields.number())
            case Kind.READ:
                file, offset, size = self._file(fields), fields.long(), fields.number()
                content = await self._root.read(file, offset, min(size, MAX_READ))
                return packets.data(request, content) if content else packets.status(request, Status.EOF)
            case Kind.OPENDIR:
                entries = await self._root.entries(self._root.absolute(_path(fields)))
                return packets.handle(request, self._handle(_Folder(entries)))
            case Kind.READDIR:
                return self._read_folder(request, fields.text())
            case Kind.CLOSE:
                known = self._handles.pop(fields.text(), None)
                return packets.status(request, Status.FAILURE if known is None else Status.OK)
            case Kind.READLINK:
                entry = await self._root.entry(self._root.absolute(_path(fields)))
                if not stat.S_ISLNK(entry.mode):
                    return packets.status(request, Status.FAILURE, "not a symbolic link")
                return packets.path(request, entry.target)
            case Kind.EXTENDED if fields.text() == LIMITS:
                return packets.limits(request, _MAX_HANDLES)
        if kind in CHANGES:
            return packets.status(request, Status.PERMISSION_DENIED, _READ_ONLY)
        return packets.status(request, Status.UNSUPPORTED)

    async def _open(self, request: int, path: str, flags: int) -> bytes:
        if flags & _WRITES:
            return packets.status(request, Status.PERMISSION_DENIED, _READ_ONLY)
        entry = await self._root.entry(path)
        if not stat.S_ISREG(entry.mode):
            link = stat.S_ISLNK(entry.mode)
            why = f"a link to {entry.target}, which is not followed" if link else "not a file"
            return packets.status(request, Status.FAILURE, os.fsencode(why).decode(errors="replace"))
        return packets.handle(request, self._handle(path))

    def _read_folder(self, request: int, handle: bytes) -> bytes:
        folder = self._handles.get(handle)
        if not isinstance(folder, _Folder):
            return packets.status(request, Status.FAILURE, "no such handle")
        now, folder.left = folder.left[:MAX_NAMES], folder.left[MAX_NAMES:]
        return packets.names(request, now) if now else packets.status(request, Status.EOF)

    def _handle(self, held: str | _Folder) -> bytes:
        if len(self._handles) >= _MAX_HANDLES:
            raise OSError(0, f"{_MAX_HANDLES} files and folders are open: close some")
        self._next += 1
        name = str(self._next).encode()
        self._handles[name] = held
        return name

    def _file(self, fields: Fields) -> str:
        held = self._handles.get(fields.text())
        if not isinstance(held, str):
            raise OSError(0, "no such handle")
        return held


def _path(fields: Fields) -> str:
    found = fields.path()
    if len(found) > _MAX_PATH:
        raise InvalidInput.of("path", f"a path has at most {_MAX_PATH} characters")
    return found
