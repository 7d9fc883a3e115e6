"""The live streams of runners, at most one each, and marking runners offline."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

import structlog

from netvps.errors import AlreadyExists, NetvpsError, Unavailable
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.domain.image.copies import ImageRequest
    from netvps.domain.metrics import MetricsReport, MetricsRequest
    from netvps.domain.overlay.peer_health import Link, ProbeRequest
    from netvps.domain.runner.runner import LogRequest
    from netvps.domain.snapshot.copies import CopyRequest
    from netvps.domain.snapshot.exchange import FilesRequest
    from netvps.services.runners.runners import Runners

    StreamRequest = LogRequest | FilesRequest | CopyRequest | ImageRequest
    """Those that a runner answers with a call that has their stream id."""
    Request = StreamRequest | ProbeRequest | MetricsRequest

log = structlog.get_logger()

SILENT_INTERVALS = 3
"""Number of missed heartbeats after which a runner counts as gone."""
BUSY = "RUNNER_BUSY"
"""Reason of the error if a connected runner cannot get a request now."""
NOT_CONNECTED = "RUNNER_NOT_CONNECTED"
"""Reason of the error if a runner is not connected to this server."""
_MAX_PUSHED = 256


class RunnersElsewhere(Protocol):
    """The runners that are connected to other servers of the database."""

    async def has(self, runner_uid: str) -> bool:
        """Whether one of the others has it."""

    async def push(self, runner_uid: str, request: StreamRequest) -> None:
        """As RunnerStreams.push_here, at the server that has it."""

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """As StreamedProbes.probe."""

    def measure(self, runner_uid: str, request: MetricsRequest) -> AsyncIterator[MetricsReport]:
        """Its measurements until it leaves that server. Raises Unavailable."""


@dataclass(eq=False)
class RunnerStream:
    """One stream of one runner process."""

    runner_uid: str
    instance_id: str
    heard: float
    """Time of its last message, on the monotonic clock."""
    pushed: asyncio.Queue[Request] = field(default_factory=lambda: asyncio.Queue(_MAX_PUSHED))
    """Requests to send between assignments."""
    ended: asyncio.Future[str] = field(default_factory=asyncio.Future)
    """Why the stream has to end; set once."""

    def end(self, why: str) -> None:
        """Asks the stream to end."""
        if not self.ended.done():
            self.ended.set_result(why)


class RunnerStreams:
    """All streams. An async context manager, to be exited when no call runs any more; no runner is marked offline then.

    A runner is marked offline only when its stream has been gone for three heartbeats, so a restart of either side or a
    short network interruption has no effect.
    """

    def __init__(
        self, runners: Runners, heartbeat_interval: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runners = runners
        self._patience = SILENT_INTERVALS * heartbeat_interval
        self._clock = clock
        self._streams: dict[str, RunnerStream] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()
        self._ended = False
        self.elsewhere: RunnersElsewhere | None = None
        """The runners of other servers; None if there are none."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._sweep(), name="runners that did not come back")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await self._tasks.__aexit__()

    def __len__(self) -> int:
        """Number of connected runners."""
        return len(self._streams)

    def has(self, runner_uid: str) -> bool:
        """Whether a runner is connected."""
        return runner_uid in self._streams

    async def enter(self, runner_uid: str, instance_id: str) -> RunnerStream:
        """Registers a new stream; an older one of the same process, or a silent one, is ended.

        Raises AlreadyExists while another process of this runner is alive.
        """
        now = self._clock()
        older = self._streams.get(runner_uid)
        if older is not None:
            if older.instance_id != instance_id and now - older.heard < self._patience:
                raise AlreadyExists(
                    f"runner {runner_uid} is connected from another process, last heard {now - older.heard:.0f} s ago: "
                    "stop one of the two; if its machine was cloned, join the clone again",
                    reason="RUNNER_CONNECTED",
                )
            older.end("a newer stream of this runner replaced it")
        stream = self._streams[runner_uid] = RunnerStream(runner_uid, instance_id, now)
        if leaving := self._leaving.pop(runner_uid, None):
            leaving.cancel()
            # Wait for the task: its write of "offline" may be in progress, and must not come after the new "online".
            try:
                await asyncio.wait({leaving})
            except asyncio.CancelledError:
                self.leave(stream)
                raise
        return stream

    def hear(self, stream: RunnerStream) -> None:
        """Records that a message arrived."""
        stream.heard = self._clock()

    def leave(self, stream: RunnerStream) -> None:
        """Removes a stream that ended; unless the runner reconnects soon, it is marked offline."""
        uid = stream.runner_uid
        if self._streams.get(uid) is not stream:
            return
        del self._streams[uid]
        if self._ended:
            return  # the server is stopping, and the runner will reconnect
        self._leaving[uid] = self._tasks.start(self._depart(uid), name=f"runner {uid} left")

    async def push(self, runner_uid: str, request: StreamRequest) -> None:
        """Sends a request to a runner, here or through another server; it answers with a call to this one.

        Raises Unavailable if it is not connected or does not read.
        """
        if self.elsewhere is not None and not self.has(runner_uid):
            await self.elsewhere.push(runner_uid, request)
        else:
            self.push_here(runner_uid, request)

    def push_here(self, runner_uid: str, request: Request) -> None:
        """Sends a request to a runner of this server. Raises Unavailable if it is not connected or does not read."""
        stream = self._streams.get(runner_uid)
        if stream is None:
            raise Unavailable(
                "the runner is not connected: try again when netvps runner ls shows it ONLINE", reason=NOT_CONNECTED
            )
        try:
            stream.pushed.put_nowait(request)
        except asyncio.QueueFull:
            raise Unavailable("the runner does not keep up with requests: try again", reason=BUSY) from None

    def end_all(self, why: str) -> None:
        """Asks all streams to end."""
        for stream in self._streams.values():
            stream.end(why)

    async def _depart(self, uid: str) -> None:
        try:
            await self._after_patience(lambda: self._runners.offline(uid))
        finally:
            if self._leaving.get(uid) is asyncio.current_task():
                del self._leaving[uid]

    async def _sweep(self) -> None:
        # Runners that the store has as online after a restart, but that connect neither here nor to another server.
        await self._after_patience(self._runners.call_roll)
        await self._after_patience(self._runners.stale)

    async def _after_patience(self, mark_offline: Callable[[], Awaitable[None]]) -> None:
        """Retries until the store accepts it; otherwise a lost runner would stay online and be given sessions."""
        while True:
            await asyncio.sleep(self._patience)
            try:
                return await mark_offline()
            except NetvpsError as error:
                log.warning("cannot mark a runner offline; trying again", error=error.message)
            except Exception:  # a bug must not keep it online
                log.exception("bug in marking a runner offline; trying again")
