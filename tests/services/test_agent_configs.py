from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.lifecycle import place
from netvps.domain.session import SessionSpec, SessionState
from netvps.errors import NotFound
from netvps.services.agent_configs import AgentConfigs
from netvps.services.feed import Feed
from netvps.tasks import Tasks
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.tunnel import AgentConfig
    from tests.fakes.world import World


async def _next(configs: AsyncIterator[AgentConfig]) -> AgentConfig:
    async with asyncio.timeout(5):
        return await anext(configs)


async def test_keys_of_the_owner_and_of_the_spec_each_once(world: World) -> None:
    await world.runner()
    await world.ssh_keys.create(ALICE, public_key=ed25519(1))
    await world.ssh_keys.create(BOB, public_key=ed25519(9))
    session = await world.session(spec=SessionSpec(authorized_keys=(f"{ed25519(1)} again", f"{ed25519(2)} c@d")))
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        config = await _next(configs)
    assert config.authorized_keys == (ed25519(1), ed25519(2))
    assert config.user_ca_keys == (world.ca.ssh_user_ca,)
    assert config.host_certificate == f"host HOSTKEY is {session.uid}, dev1.alice, dev1 (host:{session.uid})"


async def test_each_change_of_keys_comes_with_a_higher_generation(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        first = await _next(configs)
        await world.ssh_keys.create(BOB, public_key=ed25519(9))
        await world.reported(session, SessionState.RUNNING)
        key = await world.ssh_keys.create(ALICE, public_key=ed25519(1))
        added = await _next(configs)
        await world.ssh_keys.delete(ALICE, "", key.uid)
        removed = await _next(configs)
    assert [config.authorized_keys for config in (first, added, removed)] == [(), (ed25519(1),), ()]
    assert first.generation < added.generation < removed.generation
    assert added.generation == key.revision


async def test_a_burst_of_changes_is_one_config(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        for number in range(3):
            await world.ssh_keys.create(ALICE, public_key=ed25519(number))
        assert len((await _next(configs)).authorized_keys) == 3
        await world.ssh_keys.create(ALICE, public_key=ed25519(7))
        assert len((await _next(configs)).authorized_keys) == 4


async def test_configs_end_when_the_session_is_gone(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        await world.sessions.delete(ALICE, "dev1")
        await world.reported(session, SessionState.DELETED)
        with pytest.raises(NotFound, match="is over: it was removed or moved"):
            await _next(configs)


async def test_configs_end_when_the_epoch_is_over(world: World) -> None:
    runner = await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        async with world.store.write("test") as tx:
            await tx.put(place(session, runner, world.clock()))
        with pytest.raises(NotFound):
            await _next(configs)
    for uid, epoch in ((session.uid, 1), ("x", 1)):
        with pytest.raises(NotFound):
            await _next(world.logins.configs(uid, epoch, "HOSTKEY"))


async def test_host_certificates_are_made_anew_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.agent_configs._CERTIFY_AGAIN", timedelta(milliseconds=20))
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        first = await _next(configs)
        assert await _next(configs) == first  # certified anew: the certificate of the fake bears no date


async def test_an_agent_that_falls_behind_gets_what_holds_now(world: World) -> None:
    await world.runner()
    session = await world.session()
    feed = Feed(world.store, queue_length=1)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        slow = AgentConfigs(world.store, world.clock, world.ca, feed, session.uid, 1, "HOSTKEY").follow()
        async with aclosing(slow) as configs, world.feed.subscribe(lambda _: True) as every:
            await _next(configs)
            for number in range(3):
                await world.ssh_keys.create(ALICE, public_key=ed25519(number))
                await anext(every)
            assert len((await _next(configs)).authorized_keys) == 3
