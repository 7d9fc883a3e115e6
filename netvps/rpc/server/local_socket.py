"""The API's Unix socket, open to all accounts of the machine; the kernel reports the peer's uid.

gRPC does not expose SO_PEERCRED. So a front accepts connections, reads the credentials, and pipes the bytes to gRPC's
own socket in a private folder. It connects from the abstract address "netvps/UID/NONCE", which gRPC reports as the
peer.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import stat
import struct
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from netvps.errors import ConfigError, Unauthenticated, Unavailable
from netvps.relay import abort, relay
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

MAX_CONNECTIONS = 1024
MAX_PER_UID = 256
_UCRED = struct.Struct("=iII")  # pid, uid, gid: man 7 unix
_PEER = re.compile(r"unix-abstract:netvps/([0-9]+)/[0-9a-f]+")
_CHUNK = 256 * 1024
_PROBE_TIMEOUT = 2.0


def peer_uid(peer: str) -> int:
    """The uid in a peer address as gRPC reports it.

    Raises Unauthenticated if the connection bypassed the front, and Unavailable, for the caller to try again, if gRPC
    does not know the peer.
    """
    if not peer:
        raise Unavailable("the local connection ended while the call began: try again")
    # Some versions of gRPC percent-encode the path.
    match = _PEER.fullmatch(peer.replace("%2F", "/"))
    if match is None:
        raise Unauthenticated(f"the local connection {peer} has no peer credentials: connect to the API's socket")
    return int(match[1])


def private_folder(path: Path) -> Path:
    """The private folder beside the socket for gRPC's own socket. Raises ConfigError."""
    folder = path.with_name(f".{path.name}.grpc")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}; choose another socket path") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(f"{folder} is not a folder of this account only (mode 0700): remove it")
    return folder


class LocalSocket:
    """Accepts connections at `path` and pipes them to gRPC's socket `behind`."""

    def __init__(self, path: Path, behind: Path) -> None:
        self._path = path
        self._behind = behind
        self._tasks = Tasks()
        self._open: Counter[int] = Counter()
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def claim(self) -> None:
        """Removes a stale socket. Raises ConfigError, and changes nothing, if another server listens."""
        await asyncio.to_thread(_clear, self._path)

    async def start(self) -> None:
        """Listens at a claimed path. Raises ConfigError if it cannot."""
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, self._path, limit=_CHUNK, backlog=MAX_CONNECTIONS
            )
            self._path.chmod(0o666)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {self._path}: {error.strerror or error}; choose another socket path"
            ) from error

    async def stop_accepting(self) -> None:
        """Stops accepting and removes the socket's file; open connections continue."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with suppress(FileNotFoundError):
            # Another server may have created its own socket there meanwhile.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def close(self) -> None:
        """Closes all connections."""
        await self.stop_accepting()
        await self._tasks.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _credentials(writer)
        if self._open.total() >= MAX_CONNECTIONS or self._open[uid] >= MAX_PER_UID:
            log.warning("too many local connections", uid=uid, open=self._open[uid], total=self._open.total())
            writer.close()
            return
        self._open[uid] += 1
        task = self._tasks.start(self._serve(uid, reader, writer), name=f"local connection of uid {uid}")
        task.add_done_callback(lambda _: self._closed(uid))

    def _closed(self, uid: int) -> None:
        self._open[uid] -= 1
        if not self._open[uid]:
            del self._open[uid]

    async def _serve(self, uid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await self._connect(uid)
        except OSError as error:
            log.debug("local connection ended", uid=uid, error=str(error))
            await abort(writer)
            return
        except asyncio.CancelledError:
            await abort(writer)
            raise
        await relay((reader, writer), upstream)

    async def _connect(self, uid: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.bind(f"\0netvps/{uid}/{secrets.token_hex(8)}")
            await asyncio.get_running_loop().sock_connect(connection, str(self._behind))
            return await asyncio.open_unix_connection(sock=connection, limit=_CHUNK)
        except BaseException:
            connection.close()
            raise


def _credentials(writer: asyncio.StreamWriter) -> int:
    connection = writer.get_extra_info("socket")
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def _clear(path: Path) -> None:
    """Removes a socket without a listener. Raises ConfigError for a live socket, and for a file that is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} exists and is no socket: move it away, or choose another socket path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ConfigError(f"cannot check whether a server listens at {path}: {error.strerror or error}") from error
    raise ConfigError(f"a netvps server is already running: it listens at {path}; stop it first", reason="RUNNING")
