"""Passes logs from runners to readers (services.ports.SessionLogs)."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import structlog

from netvps.domain.runner.runner import LogRequest
from netvps.errors import Exhausted, NetvpsError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from netvps.rpc.server.runner_streams import RunnerStreams

log = structlog.get_logger()

FIRST_ANSWER_TIMEOUT = 10.0
MAX_PER_USER = 4
"""Maximum logs that one user reads on one runner, which serves 16 readers in total."""
_MAX_WAITING = 16
"""Pieces of at most 64 KiB buffered for a slow reader; beyond that, the runner waits."""


class _Transfer:
    def __init__(self, runner_uid: str, user: str) -> None:
        self.runner_uid = runner_uid
        self.user = user
        self.answered = asyncio.Event()
        self.delivery: asyncio.Timeout | None = None
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._pieces: asyncio.Queue[bytes | NetvpsError | None] = (
            asyncio.Queue()
        )  # bounded by _room; the end never waits

    async def put(self, piece: bytes) -> None:
        await self._room.acquire()
        self._pieces.put_nowait(piece)

    def end(self, error: NetvpsError | None) -> None:
        self._pieces.put_nowait(error)

    async def get(self) -> bytes | None:
        piece = await self._pieces.get()
        if isinstance(piece, NetvpsError):
            raise piece
        self._room.release()
        return piece


class StreamedLogs:
    """Requests logs on the runners' streams, and passes them on."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._transfers: dict[str, _Transfer] = {}

    async def read(
        self,
        runner_uid: str,
        session_uid: str,
        tail_lines: int,
        follow: bool,
        *,
        user: str,
        since: datetime | None = None,
    ) -> AsyncIterator[bytes]:
        """Yields pieces of at most 64 KiB.

        Raises Unavailable if the runner is not connected or interrupts the logs, NotFound if it has none, Exhausted if
        `user` reads MAX_PER_USER logs of this runner already.
        """
        reads = sum((each.runner_uid, each.user) == (runner_uid, user) for each in self._transfers.values())
        if reads >= MAX_PER_USER:
            raise Exhausted(
                f"user {user} reads {reads} logs on this runner already, and other users need room: end one of them",
                reason="TOO_MANY_CALLS",
            )
        stream_id = secrets.token_hex(16)
        transfer = self._transfers[stream_id] = _Transfer(runner_uid, user)
        try:
            self._streams.push(runner_uid, LogRequest(stream_id, session_uid, tail_lines, follow, since))
            await _answer(transfer)
            while (piece := await transfer.get()) is not None:
                yield piece
        finally:
            del self._transfers[stream_id]
            if transfer.delivery is not None:
                transfer.delivery.reschedule(0)  # the reader is gone: end the delivery

    async def deliver(self, runner_uid: str, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Receives logs from a runner until they end or the reader disconnects.

        A NotFound raised by `pieces` is passed to the reader: the runner has no logs to send. Raises NotFound for a
        stream that was not requested from this runner.
        """
        transfer = self._transfers.get(stream_id)
        if transfer is None or transfer.runner_uid != runner_uid or transfer.answered.is_set():
            raise NotFound("no reader waits for these logs: the stream id is unknown, late or used", reason="NO_READER")
        transfer.answered.set()
        end: NetvpsError | None = Unavailable("the runner of this session disconnected: read the logs again")
        try:
            async with asyncio.timeout(None) as transfer.delivery:
                async for piece in pieces:
                    await transfer.put(piece)
            end = None
        except NotFound as error:
            end = error
        except TimeoutError:
            log.debug("the reader of logs disconnected")
        finally:
            transfer.delivery = None
            transfer.end(end)


async def _answer(transfer: _Transfer) -> None:
    try:
        async with asyncio.timeout(FIRST_ANSWER_TIMEOUT):
            await transfer.answered.wait()
    except TimeoutError:
        raise Unavailable("the runner of this session did not answer: try again") from None
