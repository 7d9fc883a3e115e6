"""Carries out orders for copies of snapshots: fetches them from other runners, sends this runner's, drops them.

An order is repeated with backoff until it is carried out: each attempt transfers only what is missing, so repeating is
safe. Orders are not stored: the control plane sends all of them at each connection.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Self

import structlog

from netvps.domain.snapshot.copies import CopyOrder, CopyPart, CopyReport, CopyRequest, CopyState
from netvps.errors import DataLoss, Exhausted, InternalError, NetvpsError, TimedOut, Unavailable
from netvps.faults import fault_point
from netvps.runner.ports import A, Link, Travel
from netvps.tasks import Tasks

MAX_AT_ONCE: Final = 1
"""Snapshots that are fetched at the same time: two may share a part, which one fetches and the other one then has."""
MAX_SENT: Final = 4
"""Parts that are sent at the same time."""
RATE: Final = 64 << 20
"""Bytes a second that each transfer takes at most, unless it is urgent: sessions keep most of disk and network."""
REPORT_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 60.0
_MAX_NOTE: Final = 1 << 20
_BACKOFF_MIN, _BACKOFF_MAX = 1.0, 120.0
log = structlog.get_logger()


@dataclass
class _Transfer:
    """How far a transfer is, and its pace."""

    total: int
    urgent: bool
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    reported: float = 0.0

    def behind(self) -> float:
        """Seconds to wait so that the rate is not exceeded."""
        return 0.0 if self.urgent else self.done / RATE - (time.monotonic() - self.began)

    def rate(self) -> int:
        """Bytes a second since the beginning."""
        return int(self.done / max(time.monotonic() - self.began, 0.001))


class CopyOrders(Generic[A]):
    """The orders of this runner. An async context manager; leaving it interrupts transfers."""

    def __init__(
        self, files: Travel[A], link: Link, post: Callable[[CopyReport], None], forget: Callable[[CopyOrder], None]
    ) -> None:
        """`post` reports; `forget` drops the report of an order that does not exist any more."""
        self._files = files
        self._link = link
        self._post = post
        self._forget = forget
        self._orders: dict[str, CopyOrder] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(MAX_AT_ONCE)
        self._sending = 0
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()

    @property
    def sessions(self) -> frozenset[str]:
        """Uids of the sessions of which this runner is ordered to hold snapshots."""
        return frozenset(order.session for order in self._orders.values())

    def order(self, order: CopyOrder) -> None:
        """Takes an order; one that differs from an earlier one for the same snapshot replaces it."""
        if self._orders.get(order.snapshot) == order and order.snapshot in self._jobs:
            return
        self._begin(order)

    def again(self, snapshot: str) -> None:
        """Carries out the order for a snapshot again, if there is one: what it brought is lost."""
        if (order := self._orders.get(snapshot)) and not order.drop:
            self._begin(order)

    def _begin(self, order: CopyOrder) -> None:
        self._orders[order.snapshot] = order
        if job := self._jobs.pop(order.snapshot, None):
            job.cancel()
        job = self._tasks.start(self._carry_out(order, job), name=f"copy {order.snapshot}")
        self._jobs[order.snapshot] = job

    def keep_only(self, snapshots: set[str]) -> None:
        """Forgets the orders for other snapshots: they were withdrawn."""
        for uid in self._orders.keys() - snapshots:
            self._end(self._orders[uid])

    async def send(self, request: CopyRequest) -> None:
        """Sends a part that another runner asked for."""
        try:
            async with aclosing(self._pieces(request)) as pieces:
                await self._link.send_copy(request.stream_id, pieces)
        except NetvpsError as error:
            log.info("part of a snapshot not sent", snapshot=request.snapshot, error=error.message)

    async def _pieces(self, request: CopyRequest) -> AsyncGenerator[bytes, None]:
        if self._sending >= MAX_SENT:
            raise Exhausted("too many snapshots are copied from this runner: this one waits")
        self._sending += 1
        try:
            async with aclosing(
                self._files.read(request.session, request.snapshot, request.part, request.offset)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._sending -= 1

    async def _carry_out(self, order: CopyOrder, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        failures = 0
        while True:
            try:
                await self._attempt(order)
            except NetvpsError as error:
                failure = error
            except OSError as error:
                failure = Unavailable(f"the runner cannot use its own files ({error}); check its disk")
            except Exception:  # a bug in one order must not end the runner
                log.exception("bug in a copy of a snapshot")
                failure = InternalError("a bug of netvps; the runner's log has the details")
            else:
                return
            failures += 1
            pause = min(_BACKOFF_MAX, _BACKOFF_MIN * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 — jitter
            log.info("snapshot not copied yet", snapshot=order.snapshot, error=failure.message, seconds=round(pause, 1))
            self._post(CopyReport(order.session, order.snapshot, CopyState.PENDING, failure.message))
            await asyncio.sleep(pause)

    async def _attempt(self, order: CopyOrder) -> None:
        if order.drop:
            await self._files.drop(order.session, order.snapshot)
            log.info("copy of a snapshot removed", snapshot=order.snapshot)
            self._end(order)
            self._post(CopyReport(order.session, order.snapshot, CopyState.GONE))
            return
        report = CopyReport(order.session, order.snapshot, CopyState.PENDING)
        if not await asyncio.to_thread(self._files.is_here, order.session, order.snapshot):
            self._post(report)
            async with self._room:
                await self._fetch(order, report)
            log.info("snapshot copied", snapshot=order.snapshot)
        fault_point("receive.held")
        self._post(replace(report, state=CopyState.HELD))

    async def _fetch(self, order: CopyOrder, report: CopyReport) -> None:
        """Fetches what is missing of a snapshot from one runner."""
        source, description = await self._note(order)
        arrival = await self._files.arriving(order.session, order.snapshot, description)
        parts = await self._files.missing(arrival)
        transfer = _Transfer(sum(part.size - part.have for part in parts), order.urgent)

        def progress(count: int) -> None:
            transfer.done += count
            if (now := time.monotonic()) - transfer.reported >= REPORT_SECONDS:
                transfer.reported = now
                done, total = transfer.done, transfer.total
                self._post(replace(report, done_bytes=done, total_bytes=total, rate=transfer.rate()))

        for part in parts:
            request = CopyRequest("", order.session, order.snapshot, part.part, part.have)
            try:
                async with aclosing(paced(self._link.read_copy(request, source), transfer.behind)) as pieces:
                    await self._files.receive(arrival, part.part, pieces, progress)
            except DataLoss:
                self._post(replace(report, damaged=source))
                raise
        await self._files.provide_image(arrival)
        await self._files.finish(arrival)

    async def _note(self, order: CopyOrder) -> tuple[str, bytes]:
        """The runner to fetch from, and the description of the snapshot there."""
        request = CopyRequest("", order.session, order.snapshot, CopyPart.NOTE)
        source, description = "", b""
        async with aclosing(self._link.read_copy(request, "")) as answers:
            while (answer := await soon(anext(answers, None))) is not None:
                source, description = source or answer[0], description + answer[1]
                if len(description) > _MAX_NOTE:
                    raise DataLoss("the description of the snapshot is too large")
        return source, description

    def _end(self, order: CopyOrder) -> None:
        """Forgets an order that was carried out or withdrawn; it may be the running task's own."""
        if self._orders.get(order.snapshot) != order:
            return
        del self._orders[order.snapshot]
        job = self._jobs.pop(order.snapshot, None)
        if job and job is not asyncio.current_task():
            job.cancel()
        self._forget(order)


@dataclass(frozen=True, slots=True)
class DamageReports:
    """Reports files of snapshots that are damaged here: another runner's are used, and copied here again."""

    runner: str
    """Uid of this runner."""
    post: Callable[[CopyReport], None]
    orders: CopyOrders[Any] | None

    def __call__(self, session: str, snapshot: str, why: str) -> None:
        """Reports a snapshot; where a copy is ordered already, it is made at once."""
        self.post(CopyReport(session, snapshot, CopyState.PENDING, why, damaged=self.runner))
        if self.orders:
            self.orders.again(snapshot)


async def paced(
    answers: AsyncGenerator[tuple[str, bytes], None], behind: Callable[[], float]
) -> AsyncGenerator[bytes, None]:
    """Yields the pieces of a part, after waiting as many seconds as `behind` says. Raises TimedOut if none comes."""
    async with aclosing(answers):
        while (answer := await soon(anext(answers, None))) is not None:
            if answer[1]:
                yield answer[1]
            if (seconds := behind()) > 0:
                await asyncio.sleep(seconds)


async def soon(answer: Awaitable[tuple[str, bytes] | None]) -> tuple[str, bytes] | None:
    """The next answer. Raises TimedOut if none comes within a minute."""
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await answer
    except TimeoutError:
        raise TimedOut(f"the transfer stood still for {_SILENCE_SECONDS:.0f} s") from None
