from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.login import Credential, RegistryLogin
from netvps.errors import NotFound
from netvps.services.images.registries import Registries
from tests.fakes.vault import FakeVault
from tests.fakes.world import ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World

HOST = "registry.example:5000"


@pytest.fixture
def registries(world: World) -> Registries:
    return Registries(world.store, world.clock, FakeVault())


async def test_a_login_is_stored_sealed_and_given_back(world: World, registries: Registries) -> None:
    stored = await registries.put(ROOT, Credential("Registry.example:5000", "ci", "first"))
    assert (stored.host, stored.username, "first" in stored.sealed) == (HOST, "ci", False)
    assert await registries.credential(HOST) == Credential(HOST, "ci", "first")
    world.clock.advance(seconds=60)
    again = await registries.put(ROOT, Credential(HOST, "cd", "second"))
    assert again.create_time == stored.create_time < again.update_time
    assert (await registries.credential(HOST)).password == "second"
    assert [login.host for login in (await registries.list(ROOT)).items] == [HOST]


async def test_a_login_is_removed(registries: Registries) -> None:
    await registries.put(ROOT, Credential(HOST, "ci", "first"))
    await registries.delete(ROOT, HOST, "request")
    await registries.delete(ROOT, HOST, "request")
    with pytest.raises(NotFound, match="no login to registry"):
        await registries.delete(ROOT, HOST)
    with pytest.raises(NotFound):
        await registries.credential(HOST)


async def test_a_repeated_request_stores_once_and_keeps_no_hash_of_the_password(
    world: World, registries: Registries
) -> None:
    first = await registries.put(ROOT, Credential(HOST, "ci", "first"), "request")
    assert await registries.put(ROOT, Credential(HOST, "ci", "guess"), "request") == first
    assert (await registries.credential(HOST)).password == "first"
    assert len(await world.rows(RegistryLogin)) == 1
