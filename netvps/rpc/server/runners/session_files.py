"""Passes files of sessions between runners and callers (services.ports.FilesCarrier)."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from netvps.domain.snapshot.exchange import BrowseOrder, FilesRequest
from netvps.errors import Exhausted, NetvpsError, NotFound, Unavailable
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from netvps.domain.snapshot.exchange import FilesAnswer, FilesWork
    from netvps.rpc.server.runners.runner_streams import RunnerStreams

FIRST_ANSWER_TIMEOUT: Final = 10.0
MAX_PER_USER: Final = 2
"""Maximum exchanges of one user with one runner."""
MAX_BROWSED_PER_USER: Final = 8
"""The same of those in which a person reads snapshots, which may stay open."""
_MAX_WAITING: Final = 16
"""Messages of at most 64 KiB buffered in each direction; beyond that, the sender waits."""
T = TypeVar("T")


class _End:
    """The end of a pipe."""

    def __init__(self, error: NetvpsError | None) -> None:
        self.error = error


class _Pipe(Generic[T]):
    """A bounded queue with an end. Ending it never waits; only the first end counts."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._items: asyncio.Queue[T | _End] = asyncio.Queue()  # bounded by _room; the end never waits
        self._ended = False

    async def put(self, item: T) -> None:
        await self._room.acquire()
        self._items.put_nowait(item)

    def end(self, error: NetvpsError | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._items.put_nowait(_End(error))

    async def items(self) -> AsyncIterator[T]:
        """Yields what is put until the end; raises the error of the end."""
        while not isinstance(item := await self._items.get(), _End):
            self._room.release()
            yield item
        if item.error:
            raise item.error


class Exchange:
    """One exchange with a runner, as its caller sees it."""

    def __init__(self, runner_uid: str, user: str, *, browses: bool = False) -> None:
        self.runner_uid = runner_uid
        self.user = user
        self.browses = browses
        """It is one in which a person reads snapshots."""
        self.answered = asyncio.Event()
        self.from_runner: _Pipe[FilesAnswer] = _Pipe()
        self.to_runner: _Pipe[bytes | None] = _Pipe()
        """None says that there are no more bytes."""

    def answers(self) -> AsyncIterator[FilesAnswer]:
        """What the runner sends. Raises the error that it reports, and Unavailable if it disconnects."""
        return self.from_runner.items()

    async def send(self, data: bytes | None) -> None:
        """Sends a piece of at most 64 KiB to the runner, or None for the end."""
        await self.to_runner.put(data)


class StreamedFiles:
    """Requests exchanges on the runners' streams, and connects them with the calls that carry them."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._exchanges: dict[str, Exchange] = {}

    @property
    def _all(self) -> Iterable[Exchange]:
        return self._exchanges.values()

    @asynccontextmanager
    async def open(self, runner_uid: str, session_uid: str, work: FilesWork, *, user: str) -> AsyncIterator[Exchange]:
        """An exchange that has begun; it ends with the block.

        Raises Unavailable if the runner is not connected or does not answer, Exhausted if `user` has MAX_PER_USER
        exchanges with it already.
        """
        browses = isinstance(work, BrowseOrder)
        busy = sum((each.runner_uid, each.user, each.browses) == (runner_uid, user, browses) for each in self._all)
        if browses and busy >= MAX_BROWSED_PER_USER:
            raise Exhausted(
                f"user {user} reads snapshots on this runner {busy} times already: close some", reason="TOO_MANY_CALLS"
            )
        if not browses and busy >= MAX_PER_USER:
            raise Exhausted(
                f"user {user} compares or transfers files of {busy} snapshots on this runner already: wait until one "
                "is done",
                reason="TOO_MANY_CALLS",
            )
        stream_id = secrets.token_hex(16)
        exchange = self._exchanges[stream_id] = Exchange(runner_uid, user, browses=browses)
        try:
            await self._streams.push(runner_uid, FilesRequest(stream_id, session_uid, work))
            async with asyncio.timeout(FIRST_ANSWER_TIMEOUT):
                await exchange.answered.wait()
            yield exchange
        except TimeoutError:
            if exchange.answered.is_set():
                raise
            raise Unavailable("the runner of this session did not answer: try again") from None
        finally:
            del self._exchanges[stream_id]
            exchange.to_runner.end()

    async def carry(
        self, runner_uid: str, stream_id: str, answers: AsyncIterator[FilesAnswer | None]
    ) -> AsyncIterator[bytes | None]:
        """Takes what a runner sends, None at its end, and yields what to send to it, until the caller has left.

        Raises NotFound for a stream that was not requested from this runner.
        """
        exchange = self._exchanges.get(stream_id)
        if exchange is None or exchange.runner_uid != runner_uid or exchange.answered.is_set():
            raise NotFound("no caller waits for this: the stream id is unknown, late or used", reason="NO_READER")
        exchange.answered.set()
        async with Tasks() as tasks:
            tasks.start(_take(exchange, answers), name=f"files {stream_id}")
            async for data in exchange.to_runner.items():
                yield data


async def _take(exchange: Exchange, answers: AsyncIterator[FilesAnswer | None]) -> None:
    end: NetvpsError | None = Unavailable("the runner of this session disconnected: try again")
    try:
        async for answer in answers:  # a call that is cancelled ends like one that is complete
            if answer is None:
                end = None
                break
            await exchange.from_runner.put(answer)
    except NetvpsError as error:
        end = error
    finally:
        exchange.from_runner.end(end)


class FilesHere:
    """Connects to the runners of this server only, for work that each server does for its own."""

    def __init__(self, files: StreamedFiles, streams: RunnerStreams) -> None:
        self._files, self._streams = files, streams

    @asynccontextmanager
    async def open(self, runner_uid: str, session_uid: str, work: FilesWork, *, user: str) -> AsyncIterator[Exchange]:
        """As StreamedFiles.open. Raises Unavailable for a runner of another server, too."""
        if not self._streams.has(runner_uid):
            raise Unavailable("the runner is not connected to this server")
        async with self._files.open(runner_uid, session_uid, work, user=user) as exchange:
            yield exchange
