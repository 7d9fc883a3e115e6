"""Which events wake whom, and what is said of an engine that is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import docker.errors
import pytest
from structlog.testing import capture_logs

from netvps.adapters.docker.events import Events
from tests.support.patience import PATIENCE

UID = "0123456789abc"
OURS = {"netvps.session_id": UID, "netvps.node": "node", "name": f"netvps-vps-{UID}"}


@pytest.mark.parametrize(
    ("action", "labels", "woken"),
    [
        ("die", OURS, [UID]),
        ("oom", OURS, [UID]),
        ("exec_start: sh", OURS, []),
        ("die", {}, []),
    ],
)
def test_an_event(action: str, labels: dict[str, str], woken: list[str]) -> None:
    heard: list[str] = []
    Events(cast("Any", None), "node")._report({"Action": action, "Actor": {"Attributes": labels}}, heard.append)
    assert heard == woken


class Stream:
    """Events that never come, until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.closed.wait(10)
        return iter(())

    def close(self) -> None:
        self.closed.set()


class FlakyDocker:
    """Does not answer `failures` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.streams: list[Stream] = []

    @property
    def stream_api(self) -> object:
        return SimpleNamespace(events=self._events)

    def _events(self, **_: object) -> Stream:
        if self.failures:
            self.failures -= 1
            raise docker.errors.DockerException("gone")
        self.streams.append(Stream())
        return self.streams[-1]


async def test_an_engine_that_is_away_is_said_once_and_that_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.docker.events._AGAIN_MAX", 0.01)
    flaky = FlakyDocker(failures=3)
    heard: asyncio.Queue[str] = asyncio.Queue()
    with capture_logs() as logged:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            watching = group.create_task(Events(cast("Any", flaky), "node").watch(heard.put_nowait))
            assert [await heard.get() for _ in range(2)] == ["", ""]  # once when it is lost, once when it is back
            assert heard.empty()
            watching.cancel()
    assert [line["event"].partition(";")[0] for line in logged] == [
        "Docker is unavailable",
        "Docker is available again",
    ]


async def test_all_look_again_after_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.docker.events._AGAIN_MAX", 0.01)
    flaky = FlakyDocker(failures=0)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        watching = group.create_task(Events(cast("Any", flaky), "node").watch(heard.put_nowait))
        assert await heard.get() == ""
        flaky.streams[0].closed.set()
        assert await heard.get() == ""
        watching.cancel()
    for stream in flaky.streams:
        stream.close()
