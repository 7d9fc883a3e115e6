"""A runner's overlay is built of real parts, and what they opened is closed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.docker.client import Docker
from netvps.programs.wiring.overlay import overlay
from netvps.runner.settings import RunnerSettings as Place
from netvps.settings import RunnerSettings, load
from tests.support.namespaces import namespace


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("r1", "box1", "1", tmp_path, tmp_path, tmp_path, "192.0.2.9:7444")


async def test_it_is_built_only_where_it_shall_be(place: Place) -> None:
    off = load(RunnerSettings, {"overlay": "false"})
    async with overlay(off, place, Docker("unix:///nowhere")) as none:
        assert none is None


@pytest.mark.netns
async def test_it_knows_what_the_machine_can(place: Place) -> None:
    with namespace() as host, host.inside():
        host.ip("address", "add", "192.0.2.1/24", "dev", "lo")
        on = load(RunnerSettings, {"underlay": "192.0.2.1"})
        for _ in range(2):  # what the first held is free again
            async with overlay(on, place, Docker("unix:///nowhere")) as built:
                assert built is not None
                await built.prepare()
                assert not built.local_problems
                assert built.underlay is not None
                assert built.underlay.addresses == ("192.0.2.1",)
