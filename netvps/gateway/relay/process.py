"""A process of the agent's binary beside this one, with a socket on its standard input.

It is started again whenever it ends, and it ends when that socket is closed.
"""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

log = structlog.get_logger()

_PAUSES: Final = (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each restart; the last one repeats."""
_LONG_RUN: Final = 60.0
"""Seconds after which the pauses start over."""
_STOP_SECONDS: Final = 2.0
_START_SECONDS: Final = 5.0
_READY: Final = b"ready"
"""The first message of the process."""


class SocketProcess:
    """An async context manager; its end ends the process."""

    def __init__(
        self,
        program: Path | None,
        command: str,
        *,
        without: str,
        started: Callable[[socket.socket], None] = lambda _socket: None,
        ended: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`program` is the agent's binary; without one, nothing is started. `without` says what that means.

        `started` gets the socket of each process that is ready, and may raise OSError; `ended` is called after its end,
        before the socket is closed.
        """
        self._program, self._name = program, command
        self._without = without
        self._started, self._ended = started, ended
        self._process: asyncio.subprocess.Process | None = None
        self.socket: socket.socket | None = None
        """To the process that runs; it keeps the boundaries of messages."""
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        if self._program is not None:
            await self._try_to_start()
            self._tasks.start(self._supervise(), name=self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()
        await self._stop()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def _try_to_start(self) -> None:
        """Starts the process, and waits until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._program), self._name, stdin=theirs.fileno(), env={}
            )
            theirs.close()
            await _is_ready(ours)
            self._started(ours)
        except (OSError, TimeoutError) as error:
            why = str(error) or "it is not ready"
            log.warning("a process does not start", process=self._name, meanwhile=self._without, error=why)
            ours.close()
        except BaseException:
            ours.close()
            raise
        else:
            self.socket = ours
        finally:
            theirs.close()

    async def _stop(self) -> None:
        """Closes its socket, which ends it."""
        if self.socket is not None:
            if self._ended is not None:
                await self._ended()
            self.socket.close()
            self.socket = None
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
                return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _supervise(self) -> None:
        """Starts it again whenever it has ended."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if self.socket is not None and self._process is not None:
                code = await self._process.wait()
                log.error("a process ended unexpectedly, and its connections with it", process=self._name, code=code)
            await self._stop()
            failures = 0 if loop.time() - began > _LONG_RUN else failures
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
            failures += 1
            await asyncio.sleep(pause)
            await self._try_to_start()


async def _is_ready(ours: socket.socket) -> None:
    """Waits for the first message. Raises OSError, TimeoutError."""
    async with asyncio.timeout(_START_SECONDS):
        if await asyncio.get_running_loop().sock_recv(ours, len(_READY)) != _READY:
            raise ConnectionResetError("it ended")
