from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from netvps.domain.snapshot.copies import CopyOrder, CopyPart, CopyReport, CopyRequest, CopyState, MissingPart
from netvps.errors import DataLoss, Exhausted, NotFound, Unavailable
from netvps.runner import copies
from netvps.runner.copies import CopyOrders
from tests.runner.lab import ScriptedLink
from tests.support.patience import PATIENCE

SESSION, UID, OTHER = "000000000000s", "0000000000001", "0000000000002"
ORDER = CopyOrder(SESSION, UID)


class Files:
    """The snapshots of this machine, in memory; an arrival is the uid of its snapshot."""

    def __init__(self) -> None:
        self.here: dict[str, bytes] = {}
        self.arrived: dict[str, bytes] = {}
        self.pulled: list[str] = []
        self.error: Exception | None = None
        self.damaged = False

    def is_here(self, session: str, snapshot: str) -> bool:
        return snapshot in self.here

    async def read(self, session: str, snapshot: str, part: CopyPart, offset: int) -> AsyncGenerator[bytes, None]:
        if snapshot not in self.here:
            raise NotFound("it is not here")
        yield self.here[snapshot][offset:]

    async def arriving(self, session: str, snapshot: str, description: bytes) -> str:
        assert description == b"note"
        return snapshot

    async def missing(self, arrival: str) -> list[MissingPart]:
        if self.error:
            raise self.error
        return [MissingPart(CopyPart.FILES, 10, len(self.arrived.get(arrival, b"")))]

    async def receive(
        self, arrival: str, part: CopyPart, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        async for piece in pieces:
            self.arrived[arrival] = self.arrived.get(arrival, b"") + piece
            progress(len(piece))
        if self.damaged:
            del self.arrived[arrival]
            raise DataLoss("its checksum does not match")

    async def provide_image(self, arrival: str) -> None:
        self.pulled.append(arrival)

    async def finish(self, arrival: str) -> None:
        self.here[arrival] = self.arrived.pop(arrival)

    async def drop(self, session: str, snapshot: str) -> None:
        self.here.pop(snapshot, None)


class Link(ScriptedLink):
    """Reads from a runner called "source", which sends ten bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[CopyRequest, str]] = []
        self.breaks: list[Exception] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.sent: dict[str, bytes | str] = {}

    async def read_copy(self, request: CopyRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        self.asked.append((request, source))
        yield "source", b""
        if request.part is CopyPart.NOTE:
            yield "", b"note"
            return
        await self.hold.wait()
        content = b"0123456789"[request.offset :]
        yield "", content[:5]
        if self.breaks:
            raise self.breaks.pop()
        yield "", content[5:]

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        try:
            self.sent[stream_id] = b"".join([piece async for piece in pieces])
        except Exhausted as error:
            self.sent[stream_id] = error.message
        except NotFound as error:
            self.sent[stream_id] = error.message


class Copied:
    def __init__(self) -> None:
        self.files, self.link = Files(), Link()
        self.reports: list[CopyReport] = []
        self.forgotten: list[CopyOrder] = []
        self._news = asyncio.Event()

    def post(self, report: CopyReport) -> None:
        self.reports.append(report)
        self._news.set()

    async def until(self, condition: Callable[[CopyReport], bool]) -> CopyReport:
        async with asyncio.timeout(PATIENCE):
            while True:
                for report in self.reports:
                    if condition(report):
                        return report
                self._news.clear()
                await self._news.wait()

    @asynccontextmanager
    async def orders(self) -> AsyncIterator[CopyOrders[str]]:
        async with CopyOrders[str](self.files, cast("Any", self.link), self.post, self.forgotten.append) as orders:
            yield orders


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_BACKOFF_MIN", 0.01)


@pytest.fixture
def copied() -> Copied:
    return Copied()


async def test_a_snapshot_is_fetched_and_its_receipt_reported(copied: Copied) -> None:
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.HELD)
        assert copied.files.here == {UID: b"0123456789"}
        assert copied.files.pulled == [UID]
        assert orders.sessions == {SESSION}
        assert [source for _, source in copied.link.asked] == ["", "source"]  # all parts come from one runner
        progress = [report for report in copied.reports if report.total_bytes]
        assert (progress[0].done_bytes, progress[0].total_bytes) == (5, 10)
        orders.order(ORDER)  # as at each connection
        assert len(copied.link.asked) == 2


async def test_what_is_here_is_not_fetched(copied: Copied) -> None:
    copied.files.here[UID] = b"files"
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.HELD)
    assert copied.link.asked == []


async def test_after_a_break_it_goes_on_where_it_ended(copied: Copied) -> None:
    copied.link.breaks = [Unavailable("the connection broke")]
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.message == "the connection broke")
        await copied.until(lambda report: report.state is CopyState.HELD)
    assert [request.offset for request, source in copied.link.asked if source] == [0, 5]
    assert copied.files.here == {UID: b"0123456789"}


async def test_damage_names_the_runner_that_sent_it(copied: Copied) -> None:
    copied.files.damaged = True
    async with copied.orders() as orders:
        orders.order(ORDER)
        report = await copied.until(lambda report: bool(report.damaged))
        assert (report.damaged, report.state) == ("source", "PENDING")
        copied.files.damaged = False
        await copied.until(lambda report: report.state is CopyState.HELD)


async def test_what_was_brought_and_is_lost_is_fetched_again(copied: Copied) -> None:
    async with copied.orders() as orders:
        orders.again(UID)  # without an order, nothing
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.HELD)
        copied.reports.clear()
        del copied.files.here[UID]
        orders.order(ORDER)  # repeated by the control plane: it was carried out
        orders.again(UID)
        await copied.until(lambda report: report.state is CopyState.HELD)
    assert copied.files.here == {UID: b"0123456789"}


@pytest.mark.parametrize("error", [Exhausted("2 MiB are free"), OSError(5, "I/O error"), RuntimeError("a bug")])
async def test_what_fails_is_said_and_tried_again(copied: Copied, error: Exception) -> None:
    copied.files.error = error
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: bool(report.message))
        copied.files.error = None
        await copied.until(lambda report: report.state is CopyState.HELD)


async def test_a_dropped_one_is_gone_and_forgotten(copied: Copied) -> None:
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.HELD)
        orders.order(CopyOrder(SESSION, UID, drop=True))
        await copied.until(lambda report: report.state is CopyState.GONE)
        assert copied.files.here == {}
        assert orders.sessions == frozenset()
    assert copied.forgotten == [CopyOrder(SESSION, UID, drop=True)]


async def test_a_drop_interrupts_the_transfer(copied: Copied) -> None:
    copied.link.hold.clear()
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.PENDING)
        orders.order(CopyOrder(SESSION, UID, drop=True))
        await copied.until(lambda report: report.state is CopyState.GONE)
    assert copied.files.here == {}


async def test_an_order_that_is_not_repeated_was_withdrawn(copied: Copied) -> None:
    copied.link.hold.clear()
    async with copied.orders() as orders:
        orders.order(ORDER)
        orders.order(CopyOrder(SESSION, OTHER))
        orders.keep_only({OTHER})
        copied.link.hold.set()
        await copied.until(lambda report: report.state is CopyState.HELD)
    assert list(copied.files.here) == [OTHER]
    assert copied.forgotten == [ORDER]


async def test_parts_are_sent_of_a_few_at_a_time(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    copied.files.here[UID] = b"0123456789"
    async with copied.orders() as orders:
        await orders.send(CopyRequest("one", SESSION, UID, CopyPart.FILES, 4))
        await orders.send(CopyRequest("two", SESSION, OTHER, CopyPart.FILES))
        monkeypatch.setattr(copies, "MAX_SENT", 0)
        await orders.send(CopyRequest("three", SESSION, UID, CopyPart.FILES))
    assert copied.link.sent["one"] == b"456789"
    assert copied.link.sent["two"] == "it is not here"
    assert str(copied.link.sent["three"]).startswith("too many snapshots are copied")


async def test_a_rate_slows_a_transfer_down(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "RATE", 100)
    began = asyncio.get_running_loop().time()
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.state is CopyState.HELD)
    assert asyncio.get_running_loop().time() - began >= 0.09


async def test_an_urgent_transfer_is_not_slowed_down(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "RATE", 1e-6)  # 10 bytes would take months
    async with copied.orders() as orders:
        orders.order(replace(ORDER, urgent=True))
        await copied.until(lambda report: report.state is CopyState.HELD)


async def test_silence_ends_a_transfer(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_SILENCE_SECONDS", 0.05)
    copied.link.hold.clear()
    async with copied.orders() as orders:
        orders.order(ORDER)
        await copied.until(lambda report: report.message.startswith("the transfer stood still"))
        copied.link.hold.set()
        await copied.until(lambda report: report.state is CopyState.HELD)


async def test_snapshots_are_fetched_one_after_the_other(copied: Copied) -> None:
    """Two may share a part, which would be written to one file."""
    copied.link.hold.clear()
    async with copied.orders() as orders:
        for uid in (UID, OTHER):
            orders.order(CopyOrder(SESSION, uid))
        await copied.until(lambda report: report.snapshot == OTHER)
        assert {request.snapshot for request, _ in copied.link.asked} <= {UID}
        copied.link.hold.set()
        await copied.until(lambda report: (report.snapshot, report.state) == (OTHER, CopyState.HELD))
    assert copied.files.here == {UID: b"0123456789", OTHER: b"0123456789"}
