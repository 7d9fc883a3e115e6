"""A channel of a login that reads snapshots: SFTP that shows them, and why there is nothing else.

Which logins: those that ask for nothing else (`NAME+.snapshots`), those to a session that no login starts, and sftp to
one that only a terminal starts (gateway/wake).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import structlog
from asyncssh import ChannelOpenError, SSHServerSession
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from netvps.domain.names import SNAPSHOTS_LOGIN
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect
from netvps.errors import NetvpsError
from netvps.gateway.ssh.readiness import reason_not_ready
from netvps.services.access.terminal_ui import TERMINAL_UI

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncssh import SSHServerChannel

    from netvps.gateway.ports import SnapshotBrowser
    from netvps.services.access.logins import Grant
    from netvps.tasks import Tasks

log = structlog.get_logger()

READABLE: Final = frozenset(
    {SessionState.STOPPED, SessionState.STOPPING, SessionState.SNAPSHOTTING, SessionState.FAILED}
)
"""States without logins in which snapshots are shown."""
CHANNELS: Final = 4
"""Maximum channels of one connection."""
_CODE: Final = 255
"""Exit code of what is refused, as of OpenSSH's client for a login that is refused."""


class SnapshotReaders:
    """The channels of a connection whose login reads snapshots."""

    def __init__(self, browser: SnapshotBrowser | None, tasks: Tasks) -> None:
        self._browser, self._tasks = browser, tasks
        self._chosen = False
        self._sessions: list[SnapshotSession] = []

    def takes(self, grant: Grant) -> bool:
        """Whether a login reads snapshots: as no login starts its session, or as it asks for nothing else."""
        if self._browser is None or grant.session.uid == TERMINAL_UI:
            return False
        asleep = grant.session.state in READABLE and grant.session.effect is LoginEffect.REFUSED
        return self._chosen or asleep or grant.unix_user == SNAPSHOTS_LOGIN

    def choose(self) -> bool:
        """Called for sftp to a session that it does not start: whether it reads snapshots, from now on."""
        self._chosen = self._browser is not None
        return self._chosen

    def require_none(self, grant: Grant) -> None:
        """Raises ChannelOpenError if a login reads snapshots: it is no way to anything else."""
        if self.takes(grant):
            raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, _why(grant))

    def open(
        self, grant: Grant, new_channel: Callable[[], SSHServerChannel[bytes]]
    ) -> tuple[SSHServerChannel[bytes], SnapshotSession] | bool:
        """Makes the session of a channel; False for too many."""
        if self._browser is None or len(self._sessions) >= CHANNELS:
            return False
        channel = new_channel()
        self._sessions.append(SnapshotSession(channel, self._browser, grant, self._tasks))
        return channel, self._sessions[-1]

    def hold(self, on: bool) -> None:
        """The client does not read, or reads again."""
        for session in self._sessions:
            session.pause_writing() if on else session.resume_writing()


class SnapshotSession(SSHServerSession[bytes]):
    """One channel: only SFTP is served."""

    def __init__(self, channel: SSHServerChannel[bytes], browser: SnapshotBrowser, grant: Grant, tasks: Tasks) -> None:
        self._channel, self._browser, self._grant, self._tasks = channel, browser, grant, tasks
        self._sftp = False
        self._early = bytearray()
        """Requests that came before the server; asyncssh holds back what comes after the first."""
        self._ended = False
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    # Called by asyncssh

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:
        """Accepted, so that a login can be refused with words."""
        return True

    def shell_requested(self) -> bool:
        """As above."""
        return True

    def exec_requested(self, command: str) -> bool:
        """As above."""
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """SFTP is served."""
        self._sftp = subsystem == "sftp"
        return True

    def session_started(self) -> None:
        """Serves SFTP, or says why nothing else is served."""
        if self._sftp:
            self._task = self._tasks.start(self._serve(), name=f"snapshots of {self._grant.session.full_name}")
        else:
            self._refuse(_why(self._grant))

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """A request."""
        if self._server is not None:
            self._server.write(data)
        else:
            self._early += data
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        """There are no more requests; answers may follow."""
        self._ended = True
        if self._server is not None:
            self._server.write_eof()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._server is not None:
            self._server.hold()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._server is not None:
            self._server.release()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the other side."""
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        of = self._grant.session
        try:
            stream = await self._browser.browse(str(of.full_name), self._grant.user)
        except NetvpsError as error:
            self._refuse(f"the snapshots of session {of.name} cannot be read: {error}")
            return
        log.info("snapshots shown", session=of.uid, user=self._grant.user)
        server = _Server(self._channel)
        try:
            stream.start(server)
            self._server = server
            server.write(bytes(self._early))
            self._early.clear()
            if self._ended:
                server.write_eof()
            self._channel.resume_reading()
            await server.ended.wait()
            with suppress(OSError):
                self._channel.exit(0)
        except OSError as error:
            self._refuse(f"the snapshots of session {of.name} cannot be read: {error}")
        finally:
            stream.abort()
            server.abort()

    def _refuse(self, reason: str) -> None:
        with suppress(OSError):
            self._channel.write_stderr(f"netvps: {reason}\n".encode())
            self._channel.exit(_CODE)


def _why(grant: Grant) -> str:
    """Why there is nothing but SFTP."""
    reason = reason_not_ready(grant) or f"a login with +{SNAPSHOTS_LOGIN} has no shell"
    return f"{reason}; its snapshots are at /.snapshots for sftp and scp"


class _Server(asyncio.Protocol):
    """The side of the SFTP server: passes its answers to the channel, and requests to it, each at the other's pace."""

    def __init__(self, channel: SSHServerChannel[bytes]) -> None:
        self._channel = channel
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def hold(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def release(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        with suppress(OSError):
            self._channel.write(data)

    def pause_writing(self) -> None:
        self._channel.pause_reading()

    def resume_writing(self) -> None:
        self._channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
