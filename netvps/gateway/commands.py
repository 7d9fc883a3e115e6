"""Commands in sessions, run for the API: a login of the gateway's own to the agent, as a person's ssh would do it."""

from __future__ import annotations

import asyncio
import shlex
import signal
from typing import TYPE_CHECKING, Any

import asyncssh
import structlog
from asyncssh import SSHClientConnection

from netvps.domain.exec import Exit, FromCommand, Stderr, Stdin, StdinEof, Stdout, TerminalSize, ToCommand
from netvps.domain.tunnel import SshTarget
from netvps.errors import Unavailable, WrongState
from netvps.gateway.ssh_pacing import Paced
from netvps.gateway.ssh_visit import closed
from netvps.services.logins import Grant
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

    from asyncssh import SSHClientProcess, SSHReader

    from netvps.domain.exec import ExecStart
    from netvps.domain.session import Session
    from netvps.gateway.ports import Stream
    from netvps.gateway.ssh_upstream import Upstream
    from netvps.gateway.ways import Ways

log = structlog.get_logger()

_PIECE = 64 * 1024
_PIECES = 8
"""Pieces of output that wait for the caller; past that, SSH's windows stop the command."""
_NO_STATUS = 255
"""As ssh has it for a command whose end was not reported."""
_EXACT = {"NETVPS_EXEC_ARGV": "1"}
"""Tells the agent that the command is an argv, quoted: it runs that by no shell. Earlier agents do by one."""


class _Connection(Paced, SSHClientConnection):
    """A login to an agent, which may be a session's own root's: it holds the event loop no longer than others."""


class Commands:
    """Runs commands in running sessions."""

    def __init__(self, ways: Ways, upstream: Upstream) -> None:
        self._ways = ways
        self._upstream = upstream

    async def run(
        self, session: Session, start: ExecStart, incoming: AsyncIterator[ToCommand], *, user: str = ""
    ) -> AsyncGenerator[FromCommand, None]:
        """What the command prints, and its Exit last. `user` is on whose behalf, else the owner.

        The agent runs the arguments as they are, by no shell. When the caller closes this iterator early the
        connection is closed, as if their ssh had gone. Raises WrongState unless the session runs,
        NotPermitted if it has no such Unix user, Unavailable if it cannot be reached or goes away.
        """
        grant = Grant(session, start.user, user or session.owner)
        if reason := closed(grant):
            raise WrongState(reason)

        def dial() -> Awaitable[Stream]:
            return self._ways.open(session.uid, SshTarget(), f"{grant.user}@exec")

        connection = await self._upstream.reach(dial, grant, _Connection)
        bound = log.bind(session=session.uid, user=grant.user)
        bound.info("exec", program=start.argv[0], unix_user=start.user)
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
            while data := await reader.read(_PIECE):
                await self._queue.put(kind(data))
        except (asyncssh.Error, OSError):
            log.debug("a command's output broke off")  # its missing exit status says so to the caller
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
        log.debug("a command left its input unread")  # which is its right: see head(1)


async def _exit(process: SSHClientProcess[bytes]) -> Exit:
    await process.wait_closed()
    if process.exit_signal is not None:
        name = process.exit_signal[0]
        number = signal.Signals.__members__.get(f"SIG{name}")
        return Exit(128 + number if number else _NO_STATUS, name)
    if process.exit_status is None:
        raise Unavailable(
            "the session went away while the command ran: the command may go on there; look before you run it again"
        )
    return Exit(process.exit_status)
