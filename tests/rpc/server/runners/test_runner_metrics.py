"""The hub between runners' streams and watchers, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.metrics import MACHINE, MAX_MEASURED, Measurement, MetricsReport, MetricsRequest
from netvps.errors import NotFound, Unavailable
from netvps.rpc.server.runners import runner_metrics
from netvps.rpc.server.runners.runner_metrics import MAX_WAITING, StreamedMetrics
from netvps.rpc.server.runners.runner_streams import BUSY
from tests.support.patience import PATIENCE

USED = Measurement(1.0, 2)


class Streams:
    """Notes what is pushed to runners; raises `error` instead."""

    def __init__(self) -> None:
        self.pushed: asyncio.Queue[tuple[str, MetricsRequest]] = asyncio.Queue()
        self.error: Unavailable | None = None
        self.refused = asyncio.Event()
        self.elsewhere: Elsewhere | None = None
        self.here = True

    def has(self, _runner_uid: str) -> bool:
        return self.here

    def push_here(self, runner_uid: str, request: MetricsRequest) -> None:
        if self.error:
            self.refused.set()
            raise self.error
        self.pushed.put_nowait((runner_uid, request))

    async def next(self) -> tuple[str, MetricsRequest]:
        async with asyncio.timeout(PATIENCE):
            return await self.pushed.get()


class Elsewhere:
    """Another server, which has every runner."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[str, MetricsRequest]] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def measure(self, runner_uid: str, request: MetricsRequest) -> AsyncIterator[MetricsReport]:
        self.asked.put_nowait((runner_uid, request))
        try:
            yield MetricsReport(dict.fromkeys(request.session_uids, USED))
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub(streams: Streams, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StreamedMetrics]:
    monkeypatch.setattr(runner_metrics, "_COALESCE", 0.0)
    async with StreamedMetrics(streams, clock) as hub:  # type: ignore[arg-type]
        yield hub


def report(*uids: str) -> MetricsReport:
    return MetricsReport(dict.fromkeys(uids, USED))


async def test_a_runner_measures_what_any_watcher_follows_and_nothing_after_the_last(
    hub: StreamedMetrics, streams: Streams
) -> None:
    with hub.open() as first:
        first.follow(frozenset({("r1", "a"), ("r1", MACHINE)}))
        assert await streams.next() == ("r1", MetricsRequest(frozenset({"a"}), machine=True))
        with hub.open() as second:
            second.follow(frozenset({("r1", "a"), ("r1", "b")}))
            assert await streams.next() == ("r1", MetricsRequest(frozenset({"a", "b"}), machine=True))
            hub.deliver("r1", report("a", "b", "unasked"))
            assert [each.target for each in await first.next()] == [("r1", "a")]
            assert {each.target for each in await second.next()} == {("r1", "a"), ("r1", "b")}
        assert await streams.next() == ("r1", MetricsRequest(frozenset({"a"}), machine=True))
    assert await streams.next() == ("r1", MetricsRequest())


async def test_a_runner_that_connects_again_is_asked_again(hub: StreamedMetrics, streams: Streams) -> None:
    streams.error = Unavailable("not connected")
    with hub.open() as inbox:
        inbox.follow(frozenset({("r1", "a")}))
        await streams.refused.wait()
        streams.error = None
        hub.stream_changed("r2")
        hub.stream_changed("r1")
        assert await streams.next() == ("r1", MetricsRequest(frozenset({"a"})))
        assert streams.pushed.empty()


async def test_a_runner_that_is_busy_is_asked_until_it_is_not(hub: StreamedMetrics, streams: Streams) -> None:
    streams.error = Unavailable("busy", reason=BUSY)
    with hub.open() as inbox:
        inbox.follow(frozenset({("r1", "a")}))
        await streams.refused.wait()
        streams.error = None
        assert await streams.next() == ("r1", MetricsRequest(frozenset({"a"})))


async def test_a_second_watcher_gets_the_last_minute_first(hub: StreamedMetrics, clock: Clock) -> None:
    target = frozenset({("r1", "a")})
    with hub.open() as first, hub.open() as second:
        first.follow(target)
        for _ in range(100):
            clock.pass_(1)
            hub.deliver("r1", report("a"))
        second.follow(target)
        assert len(await second.next()) == 60
    with hub.open() as later:
        clock.pass_(30)
        later.follow(target)
        assert len(await later.next()) == 30


async def test_another_runner_cannot_report_for_the_first(hub: StreamedMetrics, clock: Clock) -> None:
    with hub.open() as inbox:
        inbox.follow(frozenset({("r1", "a")}))
        hub.deliver("r2", report("a"))
        hub.deliver("r1", report("a"))
        clock.pass_(0.1)
        hub.deliver("r1", report("a"))  # too soon
        assert [each.target for each in await inbox.next()] == [("r1", "a")]


async def test_a_watcher_that_does_not_take_them_loses_the_oldest(hub: StreamedMetrics, clock: Clock) -> None:
    uids = [f"s{number}" for number in range(1024)]
    with hub.open() as inbox:
        inbox.follow(frozenset(("r1", uid) for uid in uids))
        for _ in range(6):
            clock.pass_(1)
            hub.deliver("r1", report(*uids))
        received = await inbox.next()
        assert (len(received), received[-1].time) == (MAX_WAITING, clock.now)


async def test_a_request_is_bounded(hub: StreamedMetrics, streams: Streams) -> None:
    with hub.open() as inbox:
        inbox.follow(frozenset(("r1", f"s{number}") for number in range(MAX_MEASURED + 5)))
        _, request = await streams.next()
        assert len(request.session_uids) == MAX_MEASURED


async def test_an_inbox_ends_with_a_reason(hub: StreamedMetrics) -> None:
    with hub.open() as inbox:
        inbox.end(NotFound("gone"))
        for _ in range(2):
            with pytest.raises(NotFound):
                await inbox.next()


async def test_a_runner_is_measured_by_the_server_that_has_it(streams: Streams, hub: StreamedMetrics) -> None:
    streams.elsewhere = elsewhere = Elsewhere()
    with hub.open() as inbox:
        async with asyncio.timeout(PATIENCE):
            inbox.follow(frozenset({("r1", "s1")}))
            assert await streams.next() == ("r1", MetricsRequest(frozenset({"s1"})))
            streams.here = False
            hub.stream_changed("r1")
            assert await elsewhere.asked.get() == ("r1", MetricsRequest(frozenset({"s1"})))
            (received,) = await inbox.next()
            assert (received.target, received.measured) == (("r1", "s1"), USED)
            streams.here = True
            hub.stream_changed("r1")
            assert await streams.next() == ("r1", MetricsRequest(frozenset({"s1"})))
            await elsewhere.ended.wait()
    assert elsewhere.asked.empty()
