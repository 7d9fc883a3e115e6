"""A session's runtime folder, RUN/UID: the boot file, the two sockets, and what the agent keeps there.

It outlives the container's restarts, and the runner's; not the machine's, being on tmpfs. The session's root may put
anything in there, links and pipes too: so nothing here follows a link, or waits. The agent's files are root's, and the
runner is perhaps not: they are looked at (lstat), never read.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from contextlib import AsyncExitStack
from pathlib import Path

from netvps.runner.files import write_file
from netvps.runner.sockets import Relay

SERVER_NAME = "control.netvps.internal"
_RESOLV_CONF = ".resolv.conf"
_BOOT_FILE = "boot.json"
_IDENTITY_FILE = "identity.pem"
# Until the token is exchanged, the agent's identity.pem holds a key alone (some 240 bytes); a certificate has far more.
_KEY_ALONE = 450
# A boot token is good for an hour; one that was not used by then is replaced in time.
_TOKEN_SECONDS = 40 * 60
_MAX_BOOT = 64 * 1024


class RuntimeFolder:
    """The folder of one session; `open` it before the container starts, `remove` it with the session."""

    def __init__(self, path: Path, session_uid: str, boot_address: str, tunnel_address: str) -> None:
        self.path = path
        self._session_uid = session_uid
        self._relays = (("boot.sock", boot_address), ("tunnel.sock", tunnel_address))
        self._stack: AsyncExitStack | None = None

    async def open(self) -> None:
        """Makes the folder and serves its sockets. Once open, it changes nothing, unless the folder was removed."""
        if self._stack is not None and all((self.path / name).exists() for name, _ in self._relays):
            return
        await self.close()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with AsyncExitStack() as stack:
            for name, address in self._relays:
                await stack.enter_async_context(Relay(self.path / name, address))
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Closes the sockets; all else stays."""
        stack, self._stack = self._stack, None
        if stack:
            await stack.aclose()

    async def remove(self) -> None:
        """Closes the sockets and removes the folder. One that is gone is no error."""
        await self.close()
        shutil.rmtree(self.path, ignore_errors=True)
        self.resolv_conf.unlink(missing_ok=True)

    @property
    def resolv_conf(self) -> Path:
        """A file for the container's /etc/resolv.conf; beside the folder, for in that its root could make it a link."""
        return self.path.with_name(self.path.name + _RESOLV_CONF)

    def write_resolv_conf(self, content: str) -> None:
        """Writes that file, readable by everybody."""
        write_file(self.resolv_conf, content.encode(), 0o644)

    def needs_token(self, epoch: int) -> bool:
        """Whether the agent cannot get, or has not got, its certificate for this epoch with what is there."""
        boot = self.path / _BOOT_FILE
        try:
            content, written = _read(boot)
            if json.loads(content)["epoch"] != epoch:
                return True
        except (OSError, ValueError, KeyError, TypeError):
            return True
        # A token from the future was written before the clock was set back: nobody knows how old it is.
        return not 0 <= time.time() - written <= _TOKEN_SECONDS and not self._has_identity()

    def write_boot(self, epoch: int, token: str, ca_certificate: str) -> None:
        """Writes boot.json, readable by its owner only."""
        boot = {
            "session_uid": self._session_uid,
            "epoch": epoch,
            "ca_certificate": ca_certificate,
            "server_name": SERVER_NAME,
            "boot_token": token,
        }
        write_file(self.path / _BOOT_FILE, json.dumps(boot).encode())

    def _has_identity(self) -> bool:
        try:
            return (self.path / _IDENTITY_FILE).lstat().st_size > _KEY_ALONE
        except OSError:
            return False


def _read(path: Path) -> tuple[bytes, float]:
    """A plain file's content and time of change. Raises OSError for anything else."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)
        return os.read(handle, _MAX_BOOT), status.st_mtime
    finally:
        os.close(handle)
