"""The meter on a recorded machine, with an engine that the test turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker.errors

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.containers.usage import SessionUsage
from netvps.domain.metrics import MACHINE
from netvps.domain.runner.docker_names import container_name, session_labels
from tests.adapters.test_cgroup import V2_USE, grow


class Engine(Docker):
    """Has the containers that the test gives it."""

    def __init__(self) -> None:
        super().__init__("unix:///nowhere")
        self.containers: dict[str, dict[str, Any]] = {}
        self.inspected: list[str] = []

    @property
    def api(self) -> Any:
        return self

    def inspect_container(self, name: str) -> dict[str, Any]:
        self.inspected.append(name)
        if name not in self.containers:
            raise docker.errors.NotFound("no such container")
        return self.containers[name]


UID, OTHER = "0123456789abc", "0123456789abd"
NET = " face |bytes packets\n  eth0: 100 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0\n"


def container(uid: str, pid: int, node: str = "node") -> dict[str, Any]:
    labels = session_labels(uid, node, 1, 1)
    return {"Id": "c1", "State": {"Pid": pid}, "Config": {"Labels": labels}}


async def test_a_session_is_inspected_once_and_again_after_its_process_ended(tmp_path: Path) -> None:
    grow(tmp_path, V2_USE | {"proc/7/net/dev": NET})
    engine = Engine()
    engine.containers[container_name(UID)] = container(UID, 7)
    meter = SessionUsage(engine, "node", tmp_path)
    assert await meter.read([UID], machine=False) == {}
    await meter.find([UID])
    await meter.find([UID])
    counters = (await meter.read([UID, OTHER], machine=True))[UID]
    assert (counters.cpu_seconds, counters.memory_bytes) == (2.5, 6 << 20)
    assert (counters.received_bytes, counters.sent_bytes) == (100, 200)
    assert engine.inspected == [container_name(UID)]
    grow(tmp_path, {"proc/7/cgroup": "0::/user.slice\n"})  # another process has its number now
    assert await meter.read([UID], machine=False) == {}
    await meter.find([UID])
    assert await meter.read([UID], machine=False) == {}
    assert len(engine.inspected) == 2


async def test_containers_of_others_and_processes_that_are_not_visible_are_not_measured(tmp_path: Path) -> None:
    grow(tmp_path, V2_USE)
    engine = Engine()
    meter = SessionUsage(engine, "node", tmp_path)
    for found in (container(UID, 7, "other"), container(UID, 0), container(UID, 8), container(OTHER, 7)):
        engine.containers[container_name(UID)] = found
        await meter.find([UID])
        assert await meter.read([UID], machine=False) == {}


async def test_the_machine_of_this_test_is_measured() -> None:
    read = await SessionUsage(Engine(), "node").read([], machine=True)
    assert read[MACHINE].cpu_seconds > 0
    assert read[MACHINE].memory_bytes > 1 << 20
