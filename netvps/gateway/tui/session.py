"""The channel of one viewer: shows the terminal UI, and gives the channel to a session whenever the viewer connects.

app on a PTY ◄──► channel        until the app hands the terminal over
agent        ◄──► channel        until the program in the session ends; then the app again, on the same row
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import asyncssh
import structlog
from asyncssh import SSHServerSession

from netvps.domain.names import SshLogin
from netvps.domain.tunnel import SshTarget
from netvps.errors import NetvpsError, NotFound, NotPermitted
from netvps.gateway.ssh.client_auth import REVOKED
from netvps.gateway.ssh.readiness import reason_for_login
from netvps.gateway.tui.apps import Outcome, Viewer
from netvps.gateway.tui.early_input import RESET, EarlyInput
from netvps.gateway.tui.refusal import no_session, refuse
from netvps.gateway.tui.relay import AgentConnection, ChannelRelay
from netvps.gateway.tui.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncssh import SSHServerChannel

    from netvps.gateway.ports import Stream
    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.tui.apps import TerminalApps
    from netvps.gateway.tunnel.dialer import Dialer
    from netvps.services.access.logins import Grant
    from netvps.tasks import Tasks

log = structlog.get_logger()

IDLE_SECONDS: Final = 4 * 3600.0
"""A UI without any input for this long ends."""
_DRAWING: Final = ("COLORTERM", "NO_COLOR", "NETVPS_ACCESSIBLE")
"""Variables of the client that the app gets, if the client sends them."""


class Login(Protocol):
    """The connection that a viewer logged in with."""

    user_name: str
    origin: str

    @property
    def grant(self) -> Grant:
        """Its grant for the terminal UI."""

    async def authorize(self, login: SshLogin) -> Grant:
        """What the same key or certificate may do in a session. Raises NetvpsError."""

    async def wake(self, grant: Grant, say: Callable[[str], None]) -> None:
        """Wakes a session, and waits until it takes logins. Raises NetvpsError."""


class Tokens(Protocol):
    """Credentials of app processes."""

    async def mint_token(self, user: str) -> str:
        """A credential for a user."""

    def revoke_token(self, token: str) -> None:
        """Ends it."""


class Viewers(Protocol):
    """Counts who looks at terminal UIs."""

    def enter(self, user: str) -> str | None:
        """Counts a viewer; or why one more is not admitted."""

    def leave(self, user: str) -> None:
        """Ends what `enter` counted."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions use."""

    apps: TerminalApps
    tokens: Tokens
    dialer: Dialer
    agent_login: AgentLogin
    tasks: Tasks
    viewers: Viewers


class UiSession(SSHServerSession[bytes]):
    """One channel. Only the first one of a connection with a terminal and without a command shows the UI."""

    def __init__(
        self,
        login: Login,
        channel: SSHServerChannel[bytes],
        services: Services,
    ) -> None:
        self._login, self._channel = login, channel
        self._services, self._tasks = services, services.tasks
        self._terminal: Terminal | None = None
        self._relay: ChannelRelay | None = None
        self._entered: tuple[SshLogin, Grant] | None = None
        """The session that has the channel."""
        self._command: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._held: set[str] = set()
        """Why nothing may be written now."""
        self._early = EarlyInput()
        self._active = 0.0
        self._viewer = ""
        """The user for whom it counts as a viewer; '' if it does not."""

    # Called by asyncssh

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:
        """Accepts a terminal; its type and size are those of the channel."""
        return True

    def shell_requested(self) -> bool:
        """What the UI is."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Accepted, so that it can be refused with words."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Accepted, so that it can be refused with words."""
        self._command = subsystem
        return True

    def session_started(self) -> None:
        """Shows the UI, or says why not."""
        if self._command is not None:
            self._refuse(
                f"{no_session(self._login.user_name)}, so this is the terminal UI, which runs no commands and copies no"
                " files: `netvps ls` lists your sessions"
            )
        elif not self._channel.get_terminal_type():
            self._refuse("the terminal UI needs a terminal: ssh -t, or use `netvps ls` and `netvps watch`")
        elif reason := self._services.viewers.enter(self._login.grant.user):
            self._refuse(reason)
        else:
            self._viewer = self._login.grant.user
            self._active = asyncio.get_running_loop().time()
            self._task = self._tasks.start(self._serve(), name=f"terminal UI of {self._login.origin}")

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Input of the viewer."""
        self._active = asyncio.get_running_loop().time()
        if self._relay:
            self._relay.feed(data)
        elif self._terminal:
            self._terminal.feed(data)
        else:
            self._early.feed(data)

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """The viewer's window changed."""
        if self._relay:
            self._relay.resize(width, height, pixwidth, pixheight)
        if self._terminal:
            self._terminal.resize(width, height)

    def pause_writing(self) -> None:
        """The window of the channel is full."""
        self.hold("channel")

    def resume_writing(self) -> None:
        """The window has room again."""
        self.release("channel")

    def hold(self, why: str) -> None:
        """The viewer does not read: the app or the program waits."""
        self._held.add(why)
        if self._terminal:
            self._terminal.pause()
        if self._relay:
            self._relay.pause()

    def release(self, why: str) -> None:
        """The viewer reads again, if nothing else holds it."""
        self._held.discard(why)
        if self._held:
            return
        if self._terminal:
            self._terminal.resume()
        if self._relay:
            self._relay.resume()

    def eof_received(self) -> bool:
        """Input has ended; output may follow."""
        if self._relay:
            self._relay.end_input()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends everything that it started."""
        if self._task:
            self._task.cancel()
        if self._viewer:
            self._services.viewers.leave(self._viewer)

    # The life of the UI

    async def _serve(self) -> None:
        user = self._login.grant.user
        code = 1
        idle = self._tasks.start(self._end_idle(), name=f"idle time of {self._login.origin}")
        token = ""
        try:
            token = await self._services.tokens.mint_token(user)
            outcome = await self._show(token, Outcome())
            while outcome.session:
                await self._enter(outcome.session)
                outcome = await self._show(token, outcome)
            code = 0
        except NetvpsError as error:
            self._say(str(error))
        finally:
            idle.cancel()
            if token:
                self._services.tokens.revoke_token(token)
            with suppress(OSError):
                self._channel.exit(code)

    async def _show(self, token: str, place: Outcome) -> Outcome:
        """Runs the app until it ends."""
        term = self._channel.get_terminal_type() or "xterm"
        sent = self._channel.get_environment()
        environ = {name: sent[name][:100] for name in _DRAWING if name in sent}
        terminal = self._terminal = Terminal(self._write)
        app = None
        try:
            terminal.resize(*self._channel.get_terminal_size()[:2])
            app = await self._services.apps.start(Viewer(token, term, environ, place.page, place.uid), terminal.app_end)
            terminal.close_app_end()
            terminal.feed(self._early.take())
            if self._held:
                terminal.pause()
            outcome = await app.outcome()
            terminal.drain()
            return outcome
        finally:
            if app:
                app.kill()
            self._terminal = None
            terminal.close()

    async def _enter(self, name: str) -> None:
        """Gives the channel to a session until the program in it ends."""
        session, _, owner = name.partition(".")
        try:
            login = SshLogin(session, owner, self._login.grant.unix_user)
            grant = await self._login.authorize(login)
            if reason := reason_for_login(grant, asked=False):
                await self._early.explain(self._say, reason)
                return
            self._say(f"connecting to {name} …")
            await self._login.wake(grant, self._say)

            def dial() -> Awaitable[Stream]:
                return self._services.dialer.open(grant.session.uid, SshTarget(), f"{grant.user}@{self._login.origin}")

            connection = await self._services.agent_login.reach(dial, grant, AgentConnection)
        except NetvpsError as error:
            await self._early.explain(self._say, f"session {name} cannot be reached: {error}")
            return
        log.info("ssh login", origin=self._login.origin, session=grant.session.uid, user=grant.user, way="terminal UI")
        try:
            relay = self._relay = await ChannelRelay.open(connection, self._channel)
            self._entered = login, grant
            if self._held:
                relay.pause()
            relay.feed(self._early.take())
            await relay.ended.wait()
        except (asyncssh.Error, OSError) as error:
            await self._early.explain(self._say, f"session {name} opened no terminal: {error}")
        finally:
            self._relay = self._entered = None
            connection.abort()
            log.info("ssh end", origin=self._login.origin, session=grant.session.uid, user=grant.user)
            self._write(RESET)

    async def review(self) -> None:
        """Ends the program on the channel if its viewer may not log in to that session any more."""
        if self._entered is None:
            return
        login, grant = self._entered
        try:
            revoked = (await self._login.authorize(login)).session.uid != grant.session.uid
        except (NotFound, NotPermitted):
            revoked = True
        except NetvpsError as error:
            log.warning("cannot check access again", origin=self._login.origin, error=str(error))
            return
        if revoked and self._relay:
            self._say(REVOKED)
            self._relay.ended.set()

    async def _end_idle(self) -> None:
        while True:
            left = self._active + IDLE_SECONDS - asyncio.get_running_loop().time()
            if left <= 0 and not self._relay:
                break
            await asyncio.sleep(max(left, IDLE_SECONDS / 60))
        self._write(RESET)
        self._say("the terminal UI ended: there was no input for hours")
        if self._task:
            self._task.cancel()

    def _refuse(self, reason: str) -> None:
        refuse(self._channel, reason)

    def _say(self, line: str) -> None:
        self._write(f"netvps: {line}\r\n".encode())

    def _write(self, data: bytes) -> None:
        with suppress(OSError):
            self._channel.write(data)
