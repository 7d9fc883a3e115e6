"""The sampler with a meter that the test turns, and on a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from netvps.domain.metrics import MACHINE, Counters, Measurement, MetricsReport, MetricsRequest
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Unavailable
from netvps.runner.metrics import MetricsSampler
from tests.runner.lab import Lab
from tests.support.patience import PATIENCE


class Meter:
    """Half a CPU busy, at a second of its own per reading. Can do without an engine that fails or hangs."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.readings = 0
        self.engine: Exception | asyncio.Event | None = None

    async def find(self, session_uids: Collection[str]) -> None:
        if isinstance(self.engine, Exception):
            raise self.engine
        if self.engine:
            await self.engine.wait()
        self.found.update(session_uids)

    async def read(self, session_uids: Collection[str], *, machine: bool) -> dict[str, Counters]:
        self.readings += 1
        time = float(self.readings)
        wanted = [*(self.found & set(session_uids)), *([MACHINE] if machine else [])]
        return {key: Counters(time, time / 2, 7, 10 * self.readings, 0) for key in wanted}


HALF = Measurement(0.5, 7, 10.0, 0.0)


@asynccontextmanager
async def sampling(meter: Meter) -> AsyncIterator[tuple[MetricsSampler, asyncio.Queue[MetricsReport]]]:
    reports: asyncio.Queue[MetricsReport] = asyncio.Queue()
    sampler = MetricsSampler(meter, reports.put_nowait, interval=0.001)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        task = group.create_task(sampler.run())
        yield sampler, reports
        task.cancel()


async def test_nothing_is_read_until_it_is_requested_and_after_that() -> None:
    meter = Meter()
    async with sampling(meter) as (sampler, reports):
        await asyncio.sleep(0)
        assert meter.readings == 0
        sampler.request(MetricsRequest(frozenset({"s1"}), machine=True))
        while (await reports.get()).measurements != {"s1": HALF, MACHINE: HALF}:
            pass
        sampler.request(MetricsRequest(machine=True))
        while (await reports.get()).measurements != {MACHINE: HALF}:
            pass
        sampler.request(MetricsRequest())
        before, stable = -1, 0
        while stable < 5:  # a reading that had begun may end
            await asyncio.sleep(0.002)
            before, stable = meter.readings, stable + 1 if meter.readings == before else 0
        while not reports.empty():
            reports.get_nowait()
        sampler.request(MetricsRequest(machine=True))
        first = await reports.get()
        assert first.measurements == {MACHINE: HALF}, "of two readings, both after the request"


async def test_an_engine_that_fails_or_hangs_delays_no_measurement() -> None:
    for engine in (Unavailable("away"), asyncio.Event()):
        meter = Meter()
        meter.engine = engine
        async with sampling(meter) as (sampler, reports):
            sampler.request(MetricsRequest(frozenset({"s1"}), machine=True))
            assert (await reports.get()).measurements == {MACHINE: HALF}


@pytest.mark.docker
async def test_a_busy_session_uses_all_that_it_may_also_after_a_stop_and_on_a_new_stream(lab: Lab) -> None:
    """Half of one CPU, so that the session's own limit decides and not the machine's other work."""
    assignment = lab.session(SessionSpec(image=lab.image, cpus=0.5, stop_grace=2.0))
    lab.link.assign(assignment)
    busy = "while :; do :; done &"
    request = MetricsRequest(frozenset({assignment.session_uid}), machine=True)

    def measured(cpus: float) -> bool:
        session = lab.link.measured.get(assignment.session_uid, [])
        machine = lab.link.measured.get(MACHINE, [])
        return bool(session and machine) and session[-1].cpus >= cpus and machine[-1].cpus >= cpus

    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        lab.link.request(request)
        await lab.link.until(lambda: assignment.session_uid in lab.link.measured)
        quiet = lab.link.measured[assignment.session_uid][-1]
        assert quiet.cpus < 0.3
        assert 0 < quiet.memory_bytes < 100 << 20
        assert quiet.received_rate is not None
        await lab.run_in(assignment, "sh", "-c", f"({busy}) >/dev/null 2>&1 </dev/null")
        await lab.link.until(lambda: measured(0.4))
        assert max(each.cpus for each in lab.link.measured[assignment.session_uid]) < 0.7

        stop = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED)
        lab.link.measured.clear()
        start = lab.next(assignment, DesiredState.RUNNING)
        await lab.link.reported(start, SessionState.RUNNING)
        await lab.link.until(lambda: assignment.session_uid in lab.link.measured)

        lab.link.hang_up()
        await lab.link.until(lambda: lab.link.connections == 2)
        lab.link.measured.clear()
        beats = lab.link.heartbeats
        await lab.link.until(lambda: lab.link.heartbeats > beats + 8)  # 1.6 s
        assert not lab.link.measured, "it was requested on the stream that ended"
        lab.link.request(request)
        await lab.link.until(lambda: measured(0.0))
        gone = lab.next(assignment, DesiredState.DELETED)
        await lab.link.reported(gone, SessionState.DELETED)
