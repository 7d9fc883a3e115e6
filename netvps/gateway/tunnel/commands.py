"""Runs commands in sessions for the API: the gateway logs in to the agent over SSH, as a user's client would."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncssh
import structlog
from asyncssh import SSHClientConnection

from netvps.domain.pieces import MAX_PIECE
from netvps.domain.session.exec import Exit, FromCommand, Stderr, Stdin, StdinEof, Stdout, TerminalSize, ToCommand
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginKind
from netvps.domain.tunnel import SshTarget
from netvps.errors import Unavailable, WrongState
from netvps.gateway.ssh.pacing import Paced
from netvps.gateway.ssh.readiness import reason_not_ready
from netvps.gateway.tunnel.agents import COMMAND
from netvps.services.access.logins import Grant, ref_to
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

    from asyncssh import SSHClientProcess, SSHReader

    from netvps.domain.session.exec import ExecStart
    from netvps.domain.session.session import Session
    from netvps.gateway.ports import Stream, Waker
    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.tunnel.dialer import Dialer

log = structlog.get_logger()

_PIECES = 8
"""Maximum buffered pieces of output. Beyond it, SSH flow control pauses the command."""
_NO_STATUS = 255
"""The exit status that ssh returns for a command whose end was not reported."""
_EXACT = {"NETVPS_EXEC_ARGV": "1"}
"""Tells the agent that the command is a quoted argv, to be run without a shell. Older agents use a shell."""


class _Connection(Paced, SSHClientConnection):
    """A connection to an agent, paced so that a malicious session cannot block the event loop."""


class Commands:
    """Runs commands in running sessions."""

    def __init__(self, dialer: Dialer, upstream: AgentLogin, waker: Waker) -> None:
        self._dialer = dialer
        self._upstream = upstream
        self._waker = waker
        self._running: Counter[str] = Counter()

    def running(self, session_uid: str) -> int:
        """Number of commands that run in a session."""
        return self._running[session_uid]

    async def run(
        self, session: Session, start: ExecStart, incoming: AsyncIterator[ToCommand], *, user: str = ""
    ) -> AsyncGenerator[FromCommand, None]:
        """Yields the command's output, then its Exit. `user` is on whose behalf it runs, by default the owner.

        The agent runs the arguments without a shell. If the caller closes this iterator early, the connection is
        closed, as when an ssh client disconnects. A paused session is resumed. Raises WrongState unless it runs,
        NotPermitted if it has no such Unix user, Unavailable if it cannot be reached or disconnects.
        """
        grant = Grant(ref_to(session), start.user, user or session.owner)
        if reason := reason_not_ready(grant):
            raise WrongState(reason)
        if grant.session.state is SessionState.PAUSED:
            await self._waker.wake(session.uid, grant.user, LoginKind.PLAIN)

        def dial() -> Awaitable[Stream]:
            return self._dialer.open(session.uid, SshTarget(), f"{grant.user}{COMMAND}")

        connection = await self._upstream.reach(dial, grant, _Connection)
        bound = log.bind(session=session.uid, user=grant.user)
        bound.info("exec", program=start.argv[0], unix_user=start.user)
        self._running[session.uid] += 1
        try:
            async with Tasks() as tasks:
                process = await _start(connection, start)
                tasks.start(_feed(process, incoming), name=f"stdin of {start.argv[0]}")
                output = _Output(process, tasks)
                async for piece in output:
                    yield piece
                ended = await _exit(process)
            bound.info("exec end", code=ended.code)
            yield ended
        finally:
            self._running[session.uid] -= 1
            if not self._running[session.uid]:
                del self._running[session.uid]
            connection.abort()


class _Output:
    """Both outputs of a process as one bounded stream of pieces."""

    def __init__(self, process: SSHClientProcess[bytes], tasks: Tasks) -> None:
        self._queue: asyncio.Queue[FromCommand | None] = asyncio.Queue(_PIECES)
        self._open = 2
        tasks.start(self._read(process.stdout, Stdout), name="stdout")
        tasks.start(self._read(process.stderr, Stderr), name="stderr")

    def __aiter__(self) -> _Output:
        return self

    async def __anext__(self) -> FromCommand:
        while self._open:
            piece = await self._queue.get()
            if piece is not None:
                return piece
            self._open -= 1
        raise StopAsyncIteration

    async def _read(self, reader: SSHReader[bytes], kind: type[Stdout | Stderr]) -> None:
        try:
            while data := await reader.read(MAX_PIECE):
                await self._queue.put(kind(data))
        except (asyncssh.Error, OSError):
            log.debug("output of a command interrupted")  # the caller sees that from the missing exit status
        finally:
            await self._queue.put(None)


async def _start(connection: SSHClientConnection, start: ExecStart) -> SSHClientProcess[bytes]:
    size = start.terminal
    terminal: dict[str, Any] = {}
    if size is not None:
        terminal = {"term_type": start.term or "xterm", "term_size": (size.columns, size.rows)}
    try:
        return await connection.create_process(shlex.join(start.argv), encoding=None, env=_EXACT, **terminal)
    except (asyncssh.Error, OSError) as error:
        raise Unavailable(f"the session did not start the command: {error}") from error


async def _feed(process: SSHClientProcess[bytes], incoming: AsyncIterator[ToCommand]) -> None:
    try:
        async for message in incoming:
            match message:
                case Stdin(data):
                    process.stdin.write(data)
                    await process.stdin.drain()
                case StdinEof():
                    process.stdin.write_eof()
                case TerminalSize(columns, rows):
                    process.change_terminal_size(columns, rows)
        process.stdin.write_eof()
    except (asyncssh.Error, OSError):
        log.debug("a command did not read all of its input")  # no error: head(1) does the same


async def _exit(process: SSHClientProcess[bytes]) -> Exit:
    await process.wait_closed()
    if process.exit_signal is not None:
        name = process.exit_signal[0]
        number = signal.Signals.__members__.get(f"SIG{name}")
        return Exit(128 + number if number else _NO_STATUS, name)
    if process.exit_status is None:
        raise Unavailable(
            "the session disconnected while the command ran: it may still run there; check before you run it again"
        )
    return Exit(process.exit_status)
