from __future__ import annotations

from collections.abc import Iterator

import pytest

from netvps.domain.runner.runner import Lease, Underlay, Welcome
from netvps.programs.wiring.erasing import erase
from netvps.programs.wiring.gateway_overlay import Machine
from tests.fakes.world import FABRIC
from tests.runner.overlay.fakes import FakeFilter, FakeKernel
from tests.support.namespaces import Namespace, joined

pytestmark = pytest.mark.netns


@pytest.fixture
def host() -> Iterator[Namespace]:
    with joined(1) as (made,), made.inside():
        yield made


async def test_it_is_built_of_real_parts_and_what_they_opened_is_closed(host: Namespace) -> None:
    for _ in range(2):
        async with Machine("192.0.2.9") as machine:
            assert machine.kernel.hold()
            assert await machine.unable(FABRIC.pool) == ""
            async with machine.overlay(
                "gw1", Welcome("gateway", 0.0, Lease("10.128.0.0/22", "gw1", 1), FABRIC)
            ) as made:
                assert made.underlay == Underlay(("192.0.2.1",), 1450)
                assert not made.local_problems
            await machine.erase()
    host.ip("route", "add", "10.130.0.0/16", "dev", "eth0")
    async with Machine("192.0.2.9") as machine:
        assert "overlaps a route" in await machine.unable(FABRIC.pool)


async def test_to_erase_nothing_takes_nothing() -> None:
    assert await erase(FakeKernel(), FakeFilter()) == 0
