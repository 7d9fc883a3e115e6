"""The relay's process, and how a pair of connections is handed over to it.

Where there is none, or it does not know a cipher, the gateway goes on to pass the messages itself. When the relay dies,
the pairs that it serves end, and it is started again.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.gateway.relay.pair import RelayedPair, RelayTransport
from netvps.gateway.relay.wire import Kind
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from netvps.gateway.ssh.pipe import PipeEnd

log = structlog.get_logger()

_PAUSES: Final = (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each restart; the last one repeats."""
_LONG_RUN: Final = 60.0
"""Seconds after which the pauses start over."""
_STOP_SECONDS: Final = 2.0
_START_SECONDS: Final = 5.0
_READY: Final = b"ready"
"""The first message of the process."""
_MOVE_SECONDS: Final = 5.0
"""Within which both connections must be between key exchanges, with nothing to be sent."""
_LOOK_EVERY: Final = 0.01


class Relay:
    """An async context manager; its end ends the process, and all pairs with it."""

    def __init__(self, program: Path | None) -> None:
        """`program` is the agent's binary; without one, nothing is handed over."""
        self._command: Sequence[str] = (str(program), "relay") if program else ()
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        if self._command:
            await self._try_to_start()
            self._tasks.start(self._supervise(), name="relay")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()
        await self._stop()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def take(self, client: PipeEnd, agent: PipeEnd) -> bool:
        """Hands two joined connections over, and returns whether it did. Otherwise they go on here."""
        ends = (client, agent)
        if self._socket is None or not all(end.can_move() for end in ends):
            return False
        pair = RelayedPair(ends)
        ours, theirs = socket.socketpair()
        moved = False
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: pair, sock=ours)
            moved = await self._between_exchanges(ends) and self._hand_over(ends, pair, theirs)
        except OSError as error:
            log.warning("the relay did not take a connection: it stays in the gateway", error=str(error))
        finally:
            theirs.close()
            if not moved:
                pair.give_up()
                for end in ends:
                    end.stay()
        return moved

    async def _between_exchanges(self, ends: Sequence[PipeEnd]) -> bool:
        """Pauses both, and waits until nothing is under way between them and their peers."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _MOVE_SECONDS
        while loop.time() < until and all(end.can_move() for end in ends):
            if all([end.prepare_move() for end in ends]):  # noqa: C419 — all of them, also after one that cannot
                return True
            await asyncio.sleep(_LOOK_EVERY)
        return False

    def _hand_over(self, ends: tuple[PipeEnd, PipeEnd], pair: RelayedPair, theirs: socket.socket) -> bool:
        """Without a pause: nothing may arrive between what is read here and what the relay reads. Raises OSError."""
        if self._socket is None:
            return False
        descriptors = [theirs.fileno(), *(end.descriptor for end in ends)]
        socket.send_fds(self._socket, [b"pair"], descriptors)
        states = [end.state_to_move() for end in ends]
        pair.send(Kind.START, 0, json.dumps({"sides": states}).encode())
        for side, end in enumerate(ends):
            end.move_to(RelayTransport(pair, side, end.addresses()))
        return True

    async def _try_to_start(self) -> None:
        """Starts the process, and waits until it is ready for pairs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=theirs.fileno(), env={})
            theirs.close()
            await _is_ready(ours)
        except (OSError, TimeoutError) as error:
            log.warning("the relay does not start: SSH is slower meanwhile", error=str(error) or "it is not ready")
            ours.close()
        except BaseException:
            ours.close()
            raise
        else:
            self._socket = ours
        finally:
            theirs.close()

    async def _stop(self) -> None:
        """Closes its socket, which ends it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
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
            if self._socket is not None and self._process is not None:
                code = await self._process.wait()
                log.error("the relay ended unexpectedly, and its connections with it", code=code)
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
