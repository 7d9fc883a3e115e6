"""Passes logs from runners to readers (services.ports.SessionLogs)."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from netvps.domain.runner.runner import LogRequest
from netvps.domain.session.exec import Stderr
from netvps.errors import Exhausted, NetvpsError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from netvps.rpc.server.runners.runner_streams import RunnerStreams

P = TypeVar("P")
log = structlog.get_logger()

FIRST_ANSWER_TIMEOUT = 10.0
MAX_PER_USER = 4
"""Maximum logs that one user reads on one runner, which serves 16 readers in total."""
_MAX_WAITING = 16
"""Pieces of at most 64 KiB buffered for a slow reader; beyond that, the runner waits."""


class Transfer(Generic[P]):
    """Pieces on their way from a runner to one reader."""

    def __init__(self, runner_uid: str, user: str) -> None:
        self.runner_uid = runner_uid
        self.user = user
        self.answered = asyncio.Event()
        self._delivery: asyncio.Timeout | None = None
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._pieces: asyncio.Queue[P | NetvpsError | None] = asyncio.Queue()  # bounded by _room; the end never waits

    async def answer(self) -> None:
        """Waits until the runner begins. Raises Unavailable if it does not."""
        try:
            async with asyncio.timeout(FIRST_ANSWER_TIMEOUT):
                await self.answered.wait()
        except TimeoutError:
            raise Unavailable("the runner did not answer: try again") from None

    async def receive(self, pieces: AsyncIterator[P]) -> None:
        """Takes what the runner sends until it ends or the reader is gone, who gets a NotFound of `pieces`."""
        self.answered.set()
        end: NetvpsError | None = Unavailable("the runner disconnected: try again")
        try:
            async with asyncio.timeout(None) as self._delivery:
                async for piece in pieces:
                    await self._room.acquire()
                    self._pieces.put_nowait(piece)
            end = None
        except NotFound as error:
            end = error
        except TimeoutError:
            log.debug("the reader disconnected")
        finally:
            self._delivery = None
            self._pieces.put_nowait(end)

    def abandon(self) -> None:
        """Ends the delivery: the reader is gone."""
        if self._delivery is not None:
            self._delivery.reschedule(0)

    async def get(self) -> P | None:
        """The next piece; None at the end. Raises the error that ended it."""
        piece = await self._pieces.get()
        if isinstance(piece, NetvpsError):
            raise piece
        self._room.release()
        return piece


class StreamedLogs:
    """Requests logs on the runners' streams, and passes them on."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._transfers: dict[str, Transfer[bytes | Stderr]] = {}

    async def read(
        self,
        runner_uid: str,
        session_uid: str,
        tail_lines: int,
        follow: bool,
        *,
        user: str,
        since: datetime | None = None,
        task_id: str = "",
    ) -> AsyncIterator[bytes | Stderr]:
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
        transfer = self._transfers[stream_id] = Transfer[bytes | Stderr](runner_uid, user)
        try:
            request = LogRequest(stream_id, session_uid, tail_lines, follow, since, task_id)
            await self._streams.push(runner_uid, request)
            await transfer.answer()
            while (piece := await transfer.get()) is not None:
                yield piece
        finally:
            del self._transfers[stream_id]
            transfer.abandon()

    async def deliver(self, runner_uid: str, stream_id: str, pieces: AsyncIterator[bytes | Stderr]) -> None:
        """Receives logs from a runner until they end or the reader disconnects.

        A NotFound raised by `pieces` is passed to the reader: the runner has no logs to send. Raises NotFound for a
        stream that was not requested from this runner.
        """
        transfer = self._transfers.get(stream_id)
        if transfer is None or transfer.runner_uid != runner_uid or transfer.answered.is_set():
            raise NotFound("no reader waits for these logs: the stream id is unknown, late or used", reason="NO_READER")
        await transfer.receive(pieces)
