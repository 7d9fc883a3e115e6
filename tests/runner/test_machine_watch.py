"""Problems of the machine are reported when they begin and when they end."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from netvps.domain.runner.runner import Capacity
from netvps.domain.session.container import ENGINE_AWAY
from netvps.errors import NetvpsError, Unavailable
from netvps.runner import machine_watch
from netvps.runner.machine_watch import MachineWatch
from tests.support.patience import PATIENCE


class Engine:
    """Answers, refuses, or hangs."""

    def __init__(self) -> None:
        self.error: NetvpsError | None = None
        self.hangs = False

    async def capacity(self) -> Capacity:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return Capacity(2)


class HostFilter:
    """Refuses with `why`."""

    why = ""

    async def ensure(self) -> str:
        return self.why


async def test_an_engine_that_does_not_answer_is_reported_at_once_and_so_is_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, changes = Engine(), asyncio.Queue[None]()
    watch = MachineWatch(cast("Any", engine), None, lambda: changes.put_nowait(None))
    monkeypatch.setattr(machine_watch, "_ENGINE_SECONDS", 0.1)
    await watch.check()
    assert (watch.capacity, watch.engine_problem, changes.empty()) == (Capacity(2), "", True)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        running = group.create_task(watch.run())
        for error, hangs, reported in (
            (Unavailable("Docker does not answer", reason=ENGINE_AWAY), False, "Docker does not answer"),
            (None, False, ""),
            (None, True, "Docker has not answered for 0.1 s; check whether it hangs (systemctl status docker)"),
            (None, False, ""),
        ):
            engine.error, engine.hangs = error, hangs
            watch.hurry()
            await changes.get()
            assert watch.engine_problem == reported
        running.cancel()
    assert watch.capacity == Capacity(2)


async def test_isolation_from_the_machine_is_maintained_and_reported_once() -> None:
    host_filter, changes = HostFilter(), asyncio.Queue[None]()
    watch = MachineWatch(cast("Any", Engine()), host_filter, lambda: changes.put_nowait(None))
    for host_filter.why in ("no nft", ""):
        with capture_logs() as logged:
            await watch.check()
            await watch.check()
        assert watch.isolation_problem == host_filter.why
        assert [line["log_level"] for line in logged] == ["warning" if host_filter.why else "info"]
        changes.get_nowait()
    assert changes.empty()
