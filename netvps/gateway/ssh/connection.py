"""One SSH connection, from the moment that it is served to its end. Nothing else writes its state.

    LOGIN ──► DIALLING ──► JOINED ──► ENDED
      │           │                     ▲
      ├───────────┴─────────────────────┤
      └──► SERVING ─────────────────────┘

A task of the connection serves it from DIALLING on: it dials the session, logs in to the agent, and joins the two
sides, which then pass messages to each other (pipe.py) until one of them leaves. The channels of a login without a
session are served by the gateway itself: the terminal UI (gateway/tui), and connections into sessions (jump.py); so are
those of a login that reads snapshots (gateway/snapshots).
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from asyncssh import DisconnectError, ProtocolError, SSHServer
from asyncssh.constants import (
    DISC_BY_APPLICATION,
    DISC_CONNECTION_LOST,
    DISC_PROTOCOL_ERROR,
    DISC_SERVICE_NOT_AVAILABLE,
)

from netvps.domain.access.admission import Outcome
from netvps.domain.sleep.waking import LoginEffect, LoginKind, starts
from netvps.domain.tunnel import SshTarget
from netvps.errors import NetvpsError, NotFound, NotPermitted
from netvps.faults import fault_point
from netvps.gateway.snapshots.channels import SnapshotReaders
from netvps.gateway.ssh.client_auth import REVOKED, ClientAuth, PrecedingKeys
from netvps.gateway.ssh.events import report
from netvps.gateway.ssh.jump import Jumps
from netvps.gateway.ssh.pipe import Downstream, Upstream
from netvps.gateway.ssh.readiness import reason_for_login, shown_name
from netvps.gateway.tui.refusal import Refusal, no_session
from netvps.gateway.tui.terminal_ui import CHANNELS, REVIEW_SECONDS
from netvps.services.access.terminal_ui import TERMINAL_UI
from netvps.timing import observe_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncssh import (
        SSHKey,
        SSHServerChannel,
        SSHServerConnection,
        SSHServerConnectionOptions,
        SSHServerSession,
        SSHTCPChannel,
        SSHTCPSession,
    )
    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.domain.access.admission import Ticket
    from netvps.domain.names import SshLogin
    from netvps.gateway.ports import Authorizer, Registry, SnapshotBrowser
    from netvps.gateway.relay.relay import Relay
    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.tui.session import UiSession
    from netvps.gateway.tui.terminal_ui import TerminalUi
    from netvps.gateway.tunnel.dialer import Dialer
    from netvps.gateway.wake.wakes import Wakes
    from netvps.services.access.logins import Grant
    from netvps.tasks import Tasks

log = structlog.get_logger()

LOGIN_TIMEOUT = 30.0
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client that vanished is detected within two minutes."""

_QUIET_TURNS: Final = 10
"""A connection without a terminal UI is reviewed once in this many turns: agents of its sessions report changes."""


class State(Enum):
    """Where a connection is in its life."""

    LOGIN = auto()
    """The client is not authenticated."""
    DIALLING = auto()
    """The client is logged in, and the session's agent is not reached yet."""
    JOINED = auto()
    """Messages pass between the client and the agent."""
    SERVING = auto()
    """The gateway serves the client's channels itself."""
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Backend:
    """What every connection of a gateway uses."""

    authorizer: Authorizer
    dialer: Dialer
    agent_login: AgentLogin
    user_ca: bytes
    """Public key, in SSH wire format, of the CA for user certificates."""
    options: SSHServerConnectionOptions
    tasks: Tasks
    preceding_keys: PrecedingKeys
    wakes: Wakes
    terminal_ui: TerminalUi | None = None
    """None: this gateway shows none."""
    relay: Relay | None = None
    """None: messages are passed in this process."""
    browser: SnapshotBrowser | None = None
    """None: this gateway shows no snapshots."""


class SshConnection(SSHServer):
    """One connection; as an SSHServer it receives asyncssh's callbacks for the client's side."""

    def __init__(self, registry: Registry, backend: Backend, ticket: Ticket, client: tuple[str, int]) -> None:
        """`ticket` identifies it to the listener until it is logged in; `client` is an IP address and a port."""
        self.state = State.LOGIN
        self.ticket = ticket
        self.downstream = Downstream(asyncio.get_running_loop(), backend.options, self)
        self.upstream: Upstream | None = None
        self.address, self.origin = client[0], f"{client[0]}:{client[1]}"
        """The client's IP address, and with its port."""
        self.user_name = ""
        """The login name that the client sent; '' until then."""
        self._registry = registry
        self._backend = backend
        self._auth = ClientAuth(backend.authorizer, backend.user_ca, backend.preceding_keys, self._explain)
        self._began = time.monotonic()
        self._refusal = ""
        """Why the login is refused after a valid signature; '' if it is not."""
        self._end_reason = ""
        """Why the gateway ends the connection; '' if it does not."""
        self._serving: asyncio.Task[None] | None = None
        self._ui_sessions: list[UiSession] = []
        self._jumps = Jumps(self, self.downstream, backend.dialer, registry)
        self._readers = SnapshotReaders(backend.browser, backend.tasks)

    @property
    def grant(self) -> Grant:
        """What the client may do. Raises RuntimeError while no key was accepted."""
        if self._auth.grant is None:
            raise RuntimeError("an SSH connection has no grant")
        return self._auth.grant

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the key that was checked last; '' if none was."""
        return self._auth.fingerprint

    @property
    def age(self) -> float:
        """Seconds since the connection was served."""
        return time.monotonic() - self._began

    # LOGIN: called by asyncssh

    def connection_made(self, conn: SSHServerConnection) -> None:
        """Enables TCP keepalive."""
        if (sock := conn.get_extra_info("socket")) is not None:
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def begin_auth(self, username: str) -> bool:
        """Requires a key for every login name, so that a client without one cannot find out which sessions exist."""
        self.user_name = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Public keys are the only method."""
        return True

    async def validate_public_key(self, username: str, key: SSHKey) -> bool:
        """Whether the key opens that session. Called when the key is offered, and again after its signature."""
        return await self._decided(self._auth.accepts_key(username, key))

    async def validate_certificate(self, username: str, certificate: SSHOpenSSHCertificate) -> bool:
        """Whether a certificate opens that session. Called by the downstream like validate_public_key."""
        return await self._decided(self._auth.accepts_certificate(username, certificate))

    def reason_to_refuse(self) -> str | None:
        """Called by the downstream after a valid signature: why the login is refused; None if it succeeds."""
        asked = self._auth.asks_to_wake
        reason = None if self._readers.takes(self.grant) else reason_for_login(self.grant, asked=asked)
        reason = reason or self._registry.reason_to_refuse(self.grant)
        self._refusal = reason or ""
        return reason

    def must_wait(self) -> bool:
        """Called by the downstream before the login succeeds: whether the session is to be woken before that."""
        effect = self.grant.session.effect
        wakes = effect is LoginEffect.WAIT or starts(effect, self._auth.kind)
        return wakes and not self._readers.takes(self.grant)  # snapshots are read of sessions that sleep, too

    async def wait_for_session(self) -> str | None:
        """Wakes the session for a client that is authenticated, and waits, with banners; returns why it failed."""
        self._admit()
        try:
            await self._backend.wakes.ready(self.grant, self._auth.kind, self._explain)
        except NetvpsError as error:
            return f"session {shown_name(self.grant.session, self.grant.user)} cannot be reached: {error}"
        return None

    def _admit(self) -> None:
        """Counts the connection as logged in, once."""
        if self.state is State.LOGIN:
            self.state = State.DIALLING
            self._auth.completed()
            self._log("ssh login", client=self.downstream.get_extra_info("client_version", ""))
            self._registry.logged_in(self)

    def auth_completed(self) -> None:
        """Starts serving the connection."""
        served = self.grant.session.uid == TERMINAL_UI or self._readers.takes(self.grant)
        self._admit()
        if served:
            self.state = State.SERVING
            self.downstream.serve_channels()
        serving = self._keep_reviewing() if served else self._serve()
        self._serving = self._backend.tasks.start(serving, name=f"ssh from {self.origin}")

    async def _decided(self, decision: Awaitable[bool]) -> bool:
        try:
            return await decision
        except NetvpsError as error:
            log.warning("cannot check logins", error=str(error))
            self.end(f"cannot check logins now: {error}", DISC_SERVICE_NOT_AVAILABLE)
            return False

    def _explain(self, reason: str) -> None:
        self.downstream.send_auth_banner(f"netvps: {reason}\r\n")

    # DIALLING and JOINED

    async def _serve(self) -> None:
        """Dials the session, joins both sides, and waits until the agent's is closed."""
        name = shown_name(self.grant.session, self.grant.user)
        try:
            grant = await self._auth.check_again()
            if await self._reads_snapshots(grant):
                await self._keep_reviewing()
            dial = partial(self._backend.dialer.open, grant.session.uid, SshTarget(), f"{grant.user}@{self.origin}")
            self.upstream = await self._backend.agent_login.reach(dial, grant, Upstream)
            fault_point("gateway.reached")
            if self.downstream.probe:
                await self.downstream.probe.open_at(self.upstream)
            self.state = State.JOINED
            self.downstream.join(self.upstream)
            if self._backend.relay is not None:
                await self._backend.relay.take(self.downstream, self.upstream)
            observe_duration("gateway_login", "joined", self.age)
            await self.upstream.wait_closed()
            self.end(f"session {name} went away: {self.upstream.lost or 'it closed the connection'}")
        except NetvpsError as error:
            observe_duration("gateway_login", "unreachable", self.age)
            self.end(f"session {name} cannot be reached: {error}")
        finally:
            self.end("the gateway ended it")
            if self.upstream:
                self.upstream.abort()

    async def _reads_snapshots(self, grant: Grant) -> bool:
        """Wakes a session that only a terminal wakes (others were woken before); or lets sftp read its snapshots."""
        if grant.session.effect is not LoginEffect.TERMINAL or self._auth.asks_to_wake:
            return False
        probe = self.downstream.start_probe()
        kind = await probe.kind()
        if probe.sftp and self._readers.choose():
            self.state = State.SERVING
            self.downstream.serve_probed(probe)
            return True
        await self._backend.wakes.ready(grant, kind, probe.say)
        return False

    async def wake(self, grant: Grant, say: Callable[[str], None], kind: LoginKind = LoginKind.TERMINAL) -> None:
        """Wakes a session, by default for a person at a terminal, and waits for it. Raises NetvpsError."""
        await self._backend.wakes.ready(grant, kind, say)

    @property
    def sessions(self) -> set[str]:
        """Uids of the sessions that it leads to."""
        return {self.grant.session.uid} | self._jumps.sessions

    async def review(self) -> None:
        """Ends the connection if its key no longer opens the session, and channels into sessions likewise."""
        await self._review_login()
        await self._jumps.review()
        for session in self._ui_sessions:
            await session.review()

    async def _review_login(self) -> None:
        try:
            await self._auth.check_again()
        except (NotFound, NotPermitted):
            self.end(REVOKED)
        except NetvpsError as error:
            log.warning("cannot check access again", origin=self.origin, error=str(error))

    # SERVING: called by asyncssh, the downstream, and sessions

    def session_requested(self) -> tuple[SSHServerChannel[bytes], SSHServerSession[bytes]] | bool:
        """Makes the session of a channel that the client opens."""
        if self._readers.takes(self.grant):
            return self._readers.open(self.grant, partial(self.downstream.create_server_channel, encoding=None))
        ui = self._backend.terminal_ui
        if len(self._ui_sessions) >= CHANNELS:
            return False
        channel = self.downstream.create_server_channel(encoding=None)
        if ui is None:
            return channel, Refusal(channel, f"{no_session(self.user_name)}, and this gateway shows no terminal UI")
        session = ui.session(self, channel)
        self._ui_sessions.append(session)
        return channel, session

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[SSHTCPChannel[bytes], Awaitable[SSHTCPSession[bytes]]]:
        """Makes the channel into a session that the client asks for. Raises ChannelOpenError."""
        self._readers.require_none(self.grant)
        return self._jumps.open(dest_host, dest_port)

    async def authorize(self, login: SshLogin) -> Grant:
        """What the client's key or certificate may do in a session. Raises NetvpsError."""
        return await self._auth.authorize(login)

    def writing_paused(self) -> None:
        """The client does not read."""
        self._jumps.hold(True)
        self._readers.hold(True)
        for session in self._ui_sessions:
            session.hold("transport")

    def writing_resumed(self) -> None:
        """The client reads again."""
        self._jumps.hold(False)
        self._readers.hold(False)
        for session in self._ui_sessions:
            session.release("transport")

    async def _keep_reviewing(self) -> None:
        """Checks access again and again: no agent reports that a key was removed. Less often without a terminal UI."""
        for turn in itertools.count(1):
            await asyncio.sleep(REVIEW_SECONDS)
            if self._ui_sessions or turn % _QUIET_TURNS == 0:
                await self._review_login()

    # The end

    def end(self, reason: str, code: int = DISC_CONNECTION_LOST) -> None:
        """Ends the connection with a reason for the client, after pending data. The first reason counts."""
        self._end_reason = self._end_reason or reason
        self.downstream.end(code, reason)

    def abort(self) -> None:
        """Closes the connection immediately."""
        self.downstream.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncssh when the client's side is closed: ends the agent's side, logs and reports the end."""
        before, self.state = self.state, State.ENDED
        self._jumps.end()
        if self.upstream:
            self.upstream.end(DISC_BY_APPLICATION, "the client left")
        elif self._serving:
            self._serving.cancel()
        if before is State.LOGIN:
            if self.user_name:
                observe_duration("gateway_login", "refused", self.age)
            self._registry.refused(self, *self._failure(exc))
        else:
            self._log(
                "ssh end",
                reason=self._end_reason or (str(exc) if exc else "the client left"),
                received_bytes=self.downstream.passed,
                sent_bytes=self.upstream.passed if self.upstream else 0,
                seconds=round(self.age, 1),
            )
        self._registry.ended(self)

    def _failure(self, exc: Exception | None) -> tuple[Outcome, str]:
        """What a connection that did not log in costs its source, and why it ended."""
        if reason := self._refusal or self._end_reason:
            return Outcome.LOGGED_IN, reason
        if isinstance(exc, ProtocolError) or (isinstance(exc, DisconnectError) and exc.code == DISC_PROTOCOL_ERROR):
            return Outcome.ABUSED, str(exc)
        if self.user_name or self.downstream.spoke():
            return Outcome.FAILED, "no accepted key" if self.user_name else f"no login: {exc or 'the client left'}"
        late = self.age >= LOGIN_TIMEOUT
        return (Outcome.FAILED, "no data from the client") if late else (Outcome.SAID_NOTHING, "")

    def _log(self, event: str, **more: object) -> None:
        report(self._registry.audit, event, self.grant, self.origin, key=self.fingerprint, **more)
