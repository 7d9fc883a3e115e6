"""Starts processes that show the terminal UI, each on a PTY, from one warm process (programs/terminal_ui.py).

The warm process has imported everything and forks, so that a viewer sees the first screen without the second that the
imports take. It is started some time after this process, which has more urgent work then: agents and people come back.
It is started earlier by a viewer, again after it ended, and ends with this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from netvps.errors import Unavailable
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger()

MODULE: Final = "netvps.programs.terminal_ui"
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
_WARM_AFTER: Final = 10.0
_WARM_SECONDS: Final = 60.0
_START_SECONDS: Final = 10.0
RESULT_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Viewer:
    """What an app process needs to know."""

    token: str
    """Its credential at the API."""
    term: str
    environ: dict[str, str]
    """Variables of the client that say how to draw."""
    page: str = ""
    uid: str = ""
    """Where it begins: a page, and the session under the cursor."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an app ended: with a session that gets the terminal (NAME.OWNER), or none; and where it was."""

    session: str = ""
    page: str = ""
    uid: str = ""


class RunningApp:
    """An app process, until it has ended."""

    def __init__(self, apps: TerminalApps, pid: int, result: int) -> None:
        self._apps = apps
        self.pid = pid
        """Its process."""
        self._result = result

    async def outcome(self) -> Outcome:
        """Waits for its end. One that was killed or failed has no session."""
        try:
            text = await _read_to_end(self._result)
        finally:
            os.close(self._result)
        try:
            found = json.loads(text)
            return Outcome(str(found["session"]), str(found["page"]), str(found["uid"]))
        except (ValueError, KeyError, TypeError):
            return Outcome()

    def kill(self) -> None:
        """Ends it immediately; it has nothing to save."""
        self._apps.kill(self.pid)


class TerminalApps:
    """The warm process. An async context manager; its end kills all app processes."""

    def __init__(
        self,
        address: str,
        command: Sequence[str] = (sys.executable, "-P", "-m", MODULE),
        warm_after: float = _WARM_AFTER,
        *,
        ca_certificate: str = "",
        title: str = "",
    ) -> None:
        """Starts the warm process by itself `warm_after` seconds after it was entered.

        `address` is the API's: "unix:PATH", or HOST:PORT with the CA (PEM). `title` names the server on the screen; by
        default it is this machine's name.
        """
        self._warm_after = warm_after
        self._address = address
        self._ca_certificate = ca_certificate
        self._title = title
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        self._tasks.start(self._warm_up(), name="warm process of the terminal UI")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()
        await self._drop()

    async def start(self, viewer: Viewer, terminal: int) -> RunningApp:
        """Starts an app on a terminal (the file descriptor of its end for programs). Raises Unavailable."""
        reading, writing = os.pipe()
        done = False
        try:
            async with self._lock:
                pid = await self._fork(viewer, terminal, writing)
            os.set_blocking(reading, False)
            done = True
            return RunningApp(self, pid, reading)
        finally:
            os.close(writing)
            if not done:
                os.close(reading)

    def kill(self, pid: int) -> None:
        """Kills an app process, if it is one of the warm process that runs now. Idempotent."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(json.dumps({"kill": pid}).encode())

    async def _warm_up(self) -> None:
        await asyncio.sleep(self._warm_after)
        async with self._lock:
            try:
                await self._warm()
            except Unavailable as error:
                log.warning("the terminal UI is not available", error=error.message)

    async def _fork(self, viewer: Viewer, terminal: int, result: int) -> int:
        request = {
            "token": viewer.token,
            "term": viewer.term,
            "environ": viewer.environ,
            "page": viewer.page,
            "uid": viewer.uid,
            "ca": self._ca_certificate,
            "title": self._title,
        }
        sock = await self._warm()
        try:
            socket.send_fds(sock, [json.dumps(request).encode()], [terminal, result])
            async with asyncio.timeout(_START_SECONDS):
                return int((await self._answer(sock))["pid"])
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            await self._drop()
            raise Unavailable(f"the terminal UI did not start ({error!r}): connect again") from error

    async def _warm(self) -> socket.socket:
        """The socket of the warm process, which is started if it does not run. Raises Unavailable."""
        if self._process is not None and self._process.returncode is None and self._socket is not None:
            return self._socket
        await self._drop()
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        self._socket = own
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        arguments = ["--fd", str(other.fileno()), "--api", self._address, "--parent", str(os.getpid())]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, *arguments, pass_fds=(other.fileno(),), env=environ, stdin=asyncio.subprocess.DEVNULL
            )
            other.close()
            async with asyncio.timeout(_WARM_SECONDS):
                await self._answer(own)
        except (OSError, TimeoutError, ValueError) as error:
            other.close()
            await self._drop()
            raise Unavailable(f"the terminal UI does not start ({error!r}): see the server's log") from error
        return own

    async def _answer(self, sock: socket.socket) -> dict[str, Any]:
        text = await asyncio.get_running_loop().sock_recv(sock, RESULT_LIMIT)
        if not text:
            raise ConnectionResetError("it ended")
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def _drop(self) -> None:
        """Ends the warm process, and so all that it started."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _read_to_end(pipe: int) -> bytes:
    loop = asyncio.get_running_loop()
    text = b""
    readable = asyncio.Event()
    loop.add_reader(pipe, readable.set)
    try:
        while len(text) < RESULT_LIMIT:
            await readable.wait()
            readable.clear()
            with suppress(BlockingIOError):
                piece = os.read(pipe, RESULT_LIMIT)
                if not piece:
                    break
                text += piece
    finally:
        loop.remove_reader(pipe)
    return text
