"""Metrics from a runner over real mTLS to a client with an API key."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from netvps.domain.metrics import MACHINE, Measurement, MetricsReport, MetricsRequest
from netvps.errors import Exhausted, InvalidInput, NotFound
from netvps.rpc.client.client import Client
from netvps.rpc.server import open_calls
from tests.rpc.site import ROOT, hello, soon
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.metrics import MetricSample
    from netvps.rpc.client.link_client import RunnerLink
    from tests.rpc.site import Site

USED = Measurement(0.5, 1 << 20, 10.0, None)


class Measuring:
    """A runner process that measures the same on every request."""

    def __init__(self, link: RunnerLink) -> None:
        self.link = link
        self.request = MetricsRequest()
        self.requests = 0

    async def run(self) -> None:
        async with aclosing(self.link.connect(hello(), self._reports())) as messages:  # type: ignore[type-var]
            async for message in messages:
                if isinstance(message, MetricsRequest):
                    self.request = message
                    self.requests += 1

    async def _reports(self) -> AsyncIterator[MetricsReport]:
        while True:
            await asyncio.sleep(0.01)
            if self.request:
                uids = [*self.request.session_uids, *([MACHINE] if self.request.machine else [])]
                yield MetricsReport(dict.fromkeys(uids, USED))


@asynccontextmanager
async def measuring(site: Site) -> AsyncIterator[Measuring]:
    (machine,) = site.machines
    async with site.link(machine) as link, asyncio.TaskGroup() as group:
        made = Measuring(link)
        task = group.create_task(made.run())
        yield made
        task.cancel()


async def test_samples_come_to_who_may_see_the_session_also_after_its_runner_came_back(site: Site) -> None:
    session = await site.running("dev1")
    samples: list[MetricSample] = []
    endpoint = await site.remote("alice")

    def watch() -> None:
        with Client(endpoint) as client:
            for received in client.watch_metrics(["dev1"], ["lab1"]):
                samples.extend(received)
                if len({sample.name for sample in samples}) == 2 and done.is_set():
                    return

    done = asyncio.Event()
    watcher = asyncio.create_task(asyncio.to_thread(watch))
    async with measuring(site) as runner:
        await soon(lambda: len({sample.name for sample in samples}) == 2)
        assert runner.request == MetricsRequest(frozenset({session.uid}), machine=True)
    samples.clear()
    done.set()
    async with measuring(site) as runner:
        async with asyncio.timeout(PATIENCE):
            await watcher
        assert {sample.name for sample in samples} == {"sessions/dev1.alice", "runners/lab1"}
        assert samples[0].measured == USED
        await soon(lambda: not runner.request)


async def test_a_stranger_to_a_session_and_a_wrong_name_get_errors(site: Site) -> None:
    await site.running("dev1")
    bob = await site.remote("bob")
    with pytest.raises(NotFound):
        await site.do(lambda client: next(client.watch_metrics(["dev1.alice"])), bob)
    with pytest.raises(InvalidInput):
        await site.do(lambda client: next(client.watch_metrics(["A b"])), bob)


async def test_watches_of_a_user_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.running("dev1", ROOT)

    def watch(client: Client) -> None:
        streams = [client.watch_metrics() for _ in range(open_calls.METRICS_WATCHES)]
        try:
            for stream in streams:
                assert next(stream) == []
            with pytest.raises(Exhausted, match="WatchMetrics"):
                next(client.watch_metrics())
        finally:
            for stream in streams:
                stream.close()

    monkeypatch.setattr(site.services.metrics, "_patience", 0.01)
    await site.do(watch)


async def test_names_and_a_parent_exclude_each_other(site: Site) -> None:
    with pytest.raises(InvalidInput, match="not both"):
        await site.do(lambda client: next(client.watch_metrics(["a"], parent="-")))
