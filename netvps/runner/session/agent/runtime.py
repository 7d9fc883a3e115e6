"""Manages a session's runtime folder, RUN/UID: its agent's boot file, key and certificate, and its socket.

The runner writes it, and the container mounts it read-only; the agent's own data is in a tmpfs of the container
(domain.blueprint). The folder survives restarts of container and runner, but not of the machine: it is on tmpfs.

Containers of earlier versions mount it read-write until they are recreated. Root in them may create anything in it at
any time, so nothing here follows a link, blocks on a special file, trusts content, or recurses.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import structlog

from netvps.domain.access.identity import AgentCredential
from netvps.domain.server import INTERNAL_NAME
from netvps.files import write_file
from netvps.runner.session.agent.sockets import Relay
from netvps.runner.session.agent.upstream import Upstream
from netvps.runner.trash import Trash

_RESOLV_CONF = ".resolv.conf"
_BOOT_FILE = "boot.json"
_IDENTITY_FILE = "identity.pem"
_SOCKET = "tunnel.sock"
_ADDRESS_FILE = "address.json"
_EXPECTED = {
    _BOOT_FILE: stat.S_ISREG,
    _IDENTITY_FILE: stat.S_ISREG,
    _SOCKET: stat.S_ISSOCK,
    _ADDRESS_FILE: stat.S_ISREG,
}
# A key alone has about 240 bytes; earlier agents stored theirs before they had a certificate.
_KEY_ALONE = 450
# Earlier agents renewed their certificate themselves at this age.
_OWN_RENEWAL_SECONDS = 60 * 24 * 3600.0
_MAX_BOOT = 64 * 1024
log = structlog.get_logger()


class RuntimeFolder:
    """The runtime folder of one session: call `prepare` before the container starts, and `remove` with the session."""

    def __init__(self, path: Path, session_uid: str, upstream: Upstream, trash: Trash) -> None:
        self.path = path
        self._session_uid = session_uid
        self._upstream = upstream
        self._trash = trash
        self._stack: AsyncExitStack | None = None

    async def prepare(self) -> None:
        """Opens it for a stopped container; recreates it if a session wrote into it."""
        if self._is_foreign():
            log.info("recreating the runtime folder: the session wrote into it")
            await self.close()
            self._trash.put(self.path)
        await self.open()

    async def open(self) -> None:
        """Creates the folder and serves its socket; idempotent, and restores a removed socket."""
        socket = self.path / _SOCKET
        if self._stack is not None and _is(socket, stat.S_ISSOCK):
            return
        await self.close()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clear(_SOCKET)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Relay(socket, self._upstream))
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Closes the socket; keeps the files."""
        stack, self._stack = self._stack, None
        if stack:
            await stack.aclose()

    async def remove(self) -> None:
        """Closes the socket and removes the folder; idempotent."""
        await self.close()
        if self._is_foreign():
            self._trash.put(self.path)
        else:
            for name in _EXPECTED:
                (self.path / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self.path.rmdir()
        self.resolv_conf.unlink(missing_ok=True)

    @property
    def resolv_conf(self) -> Path:
        """The container's /etc/resolv.conf; outside the folder, which earlier containers may write to."""
        return self.path.with_name(self.path.name + _RESOLV_CONF)

    def write_resolv_conf(self, content: str) -> None:
        """Writes that file, world-readable."""
        write_file(self.resolv_conf, content.encode(), 0o644)

    def write_address(self, address: str, local_address: str) -> None:
        """Writes for which address the agent waits before it starts anything; '' and '' for none."""
        if local_address:
            self._write(_ADDRESS_FILE, json.dumps({"address": address, "local_address": local_address}))
        else:
            self._clear(_ADDRESS_FILE)
            (self.path / _ADDRESS_FILE).unlink(missing_ok=True)

    def needs_credential(self, epoch: int) -> bool:
        """Reports whether the agent's certificate for this epoch is missing or due for renewal."""
        try:
            boot, written = _read(self.path / _BOOT_FILE)
            kept = (self.path / _IDENTITY_FILE).lstat()
            if boot["epoch"] != epoch or not stat.S_ISREG(kept.st_mode) or kept.st_size <= _KEY_ALONE:
                return True
            renew = float(boot.get("renew_time", kept.st_mtime + _OWN_RENEWAL_SECONDS))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return True
        # A time in the future: the clock was set back since, so the certificate's age is unknown.
        return not written <= time.time() < renew

    def write_credential(self, epoch: int, credential: AgentCredential) -> None:
        """Writes identity.pem, then boot.json, which the agent waits for; both readable by their owner only."""
        boot = {
            "session_uid": self._session_uid,
            "epoch": epoch,
            "ca_certificate": credential.ca_certificate,
            "server_name": INTERNAL_NAME,
            "renew_time": credential.renew_time.timestamp(),
        }
        self._write(_IDENTITY_FILE, credential.key + credential.certificate)
        self._write(_BOOT_FILE, json.dumps(boot))

    def _write(self, name: str, content: str) -> None:
        self._clear(name)
        write_file(self.path / name, content.encode())

    def _clear(self, name: str) -> None:
        """Moves away what a file or socket cannot replace, such as a folder."""
        if not _is(self.path / name, _EXPECTED[name]):
            self._trash.put(self.path / name)

    def _is_foreign(self) -> bool:
        """Reports whether the folder contains anything that this runner did not create; checks a few entries only."""
        try:
            with os.scandir(self.path) as entries:
                return any(not self._is_ours(entry) for entry in entries)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _is_ours(self, entry: os.DirEntry[str]) -> bool:
        status = entry.stat(follow_symlinks=False)
        expected = _EXPECTED.get(entry.name)
        return expected is not None and expected(status.st_mode) and status.st_uid == os.geteuid()


def _is(path: Path, kind: Any) -> bool:
    try:
        return bool(kind(path.lstat().st_mode))
    except OSError:
        return False


def _read(path: Path) -> tuple[Any, float]:
    """Reads a regular file as JSON, and its modification time. Raises OSError, also for other types, or ValueError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        return json.loads(os.read(handle, _MAX_BOOT)), status.st_mtime
    finally:
        os.close(handle)
