from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import Lease
from netvps.errors import ConfigError
from netvps.services.runners.leases import require_in_pool
from tests.fakes.world import HELLO, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_a_silent_runner_keeps_its_subnet(world: World) -> None:
    runner = await world.runner()
    (before,) = await world.rows(Lease)
    await world.runners.offline(runner.uid)
    assert await world.rows(Lease) == [before]
    assert (await world.runners.online(runner.uid, HELLO)).lease == before


async def test_a_subnet_that_is_leased_again_has_a_higher_epoch_than_any_before(world: World) -> None:
    epochs = []
    for number in range(3):
        await world.runner(f"lab{number}")
        if number == 0:
            await world.runner("keeper")
        (held,) = [lease for lease in await world.rows(Lease) if lease.cidr == "10.128.0.0/22"]
        epochs.append(held.epoch)
        await world.runners.remove(ROOT, f"lab{number}")
    (keeper,) = await world.rows(Lease)
    assert epochs == sorted(set(epochs))
    assert epochs[-1] > keeper.epoch > epochs[0]


async def test_a_pool_that_leaves_out_what_is_leased_is_refused(world: World) -> None:
    for name in ("lab1", "lab2"):
        await world.runner(name)
    async with world.store.read() as reader:
        for pool in ("10.128.0.0/10", "10.128.0.0/16", "10.0.0.0/8"):
            await require_in_pool(reader, pool)
        with pytest.raises(ConfigError, match=r"10\.128\.0\.0/22 and 1 more\): set a pool that holds them"):
            await require_in_pool(reader, "10.64.0.0/16")
        with pytest.raises(ConfigError, match=r"leaves out subnets that runners have \(10\.128\.4\.0/22\)"):
            await require_in_pool(reader, "10.128.0.0/22")
