"""A session's runtime folder, RUN/UID: what its agent reads (boot file, key and certificate), and its socket.

The runner writes it, and the container has it read-only; what the agent keeps is in a tmpfs of the container
(domain.blueprint). It outlives the container's restarts, and the runner's; not the machine's, being on tmpfs.

Containers that an earlier netvps made have it read-write, until they are made again. Their root may put anything in
there, at any time: so nothing here follows a link, waits, trusts a content, or walks through a folder.
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

from netvps.domain.identity import AgentCredential
from netvps.runner.files import write_file
from netvps.runner.sockets import Relay
from netvps.runner.trash import Trash

SERVER_NAME = "control.netvps.internal"
_RESOLV_CONF = ".resolv.conf"
_BOOT_FILE = "boot.json"
_IDENTITY_FILE = "identity.pem"
_SOCKET = "tunnel.sock"
_EXPECTED = {_BOOT_FILE: stat.S_ISREG, _IDENTITY_FILE: stat.S_ISREG, _SOCKET: stat.S_ISSOCK}
# A key alone has some 240 bytes; agents of before kept theirs before they had a certificate.
_KEY_ALONE = 450
# Agents of before renewed their certificate by themselves when it was this old.
_OWN_RENEWAL_SECONDS = 60 * 24 * 3600.0
_MAX_BOOT = 64 * 1024
log = structlog.get_logger()


class RuntimeFolder:
    """The folder of one session: `prepare` it before the container starts, `remove` it with the session."""

    def __init__(self, path: Path, session_uid: str, tunnel_address: str, trash: Trash) -> None:
        self.path = path
        self._session_uid = session_uid
        self._tunnel_address = tunnel_address
        self._trash = trash
        self._stack: AsyncExitStack | None = None

    async def prepare(self) -> None:
        """Opens it for a container that does not run now; one in which a session wrote something is made again."""
        if self._is_foreign():
            log.info("the runtime folder is made again: there is something of the session's in it")
            await self.close()
            self._trash.put(self.path)
        await self.open()

    async def open(self) -> None:
        """Makes the folder and serves its socket. Once open, it changes nothing, unless the socket was removed."""
        socket = self.path / _SOCKET
        if self._stack is not None and _is(socket, stat.S_ISSOCK):
            return
        await self.close()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clear(_SOCKET)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Relay(socket, self._tunnel_address))
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Closes the socket; all else stays."""
        stack, self._stack = self._stack, None
        if stack:
            await stack.aclose()

    async def remove(self) -> None:
        """Closes the socket and removes the folder. One that is gone already changes nothing."""
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
        """A file for the container's /etc/resolv.conf; beside the folder, which earlier containers may write to."""
        return self.path.with_name(self.path.name + _RESOLV_CONF)

    def write_resolv_conf(self, content: str) -> None:
        """Writes that file, readable by everybody."""
        write_file(self.resolv_conf, content.encode(), 0o644)

    def needs_credential(self, epoch: int) -> bool:
        """Whether the agent has no certificate for this epoch, or one that is due to be renewed."""
        try:
            boot, written = _read(self.path / _BOOT_FILE)
            kept = (self.path / _IDENTITY_FILE).lstat()
            if boot["epoch"] != epoch or not stat.S_ISREG(kept.st_mode) or kept.st_size <= _KEY_ALONE:
                return True
            renew = float(boot.get("renew_time", kept.st_mtime + _OWN_RENEWAL_SECONDS))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return True
        # One from the future was written before the clock was set back: its age is not known.
        return not written <= time.time() < renew

    def write_credential(self, epoch: int, credential: AgentCredential) -> None:
        """Writes identity.pem, then boot.json, which the agent waits for; both readable by their owner only."""
        boot = {
            "session_uid": self._session_uid,
            "epoch": epoch,
            "ca_certificate": credential.ca_certificate,
            "server_name": SERVER_NAME,
            "renew_time": credential.renew_time.timestamp(),
        }
        self._write(_IDENTITY_FILE, credential.key + credential.certificate)
        self._write(_BOOT_FILE, json.dumps(boot))

    def _write(self, name: str, content: str) -> None:
        self._clear(name)
        write_file(self.path / name, content.encode())

    def _clear(self, name: str) -> None:
        """Moves what cannot be replaced by a file or socket of ours out of the way: a folder."""
        if not _is(self.path / name, _EXPECTED[name]):
            self._trash.put(self.path / name)

    def _is_foreign(self) -> bool:
        """Whether there is anything in the folder that this runner does not put there. Looks at a few entries only."""
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
    """A plain file's content as JSON, and its time of change. Raises OSError for anything else, or ValueError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        return json.loads(os.read(handle, _MAX_BOOT)), status.st_mtime
    finally:
        os.close(handle)
