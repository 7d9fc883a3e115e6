"""RegistryService, and how a runner gets a login, over real connections; so of netvps.rpc.convert.registries, too."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.login import RegistryLogin
from netvps.errors import InvalidInput, NotFound, NotPermitted

if TYPE_CHECKING:
    from tests.rpc.site import Site

HOST, PASSWORD = "registry.example:5000", "hunter2-hunter2"


async def test_logins_are_stored_listed_and_removed_without_their_passwords(site: Site) -> None:
    alice = await site.remote("alice")
    stored = await site.do(lambda client: client.update_registry_login(HOST, "ci", PASSWORD))
    assert (stored.host, stored.username, stored.sealed) == (HOST, "ci", "")
    assert await site.do(lambda client: list(client.list_registry_logins())) == [stored]
    with pytest.raises(NotPermitted):
        await site.do(lambda client: list(client.list_registry_logins()), alice)
    with pytest.raises(InvalidInput) as refused:
        await site.do(lambda client: client.update_registry_login("https://x", "", f"{PASSWORD}\n"))
    assert "registry_login.name" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    await site.do(lambda client: client.delete_registry_login(HOST))
    with pytest.raises(NotFound):
        await site.do(lambda client: client.delete_registry_login(HOST))


async def test_a_runner_gets_a_login_and_the_store_has_no_password(site: Site) -> None:
    machine = await site.join()
    await site.do(lambda client: client.update_registry_login(HOST, "ci", PASSWORD))
    async with site.link(machine) as link:
        found = await link.registry_login(HOST)
        assert found is not None
        assert (found.host, found.username, found.password) == (HOST, "ci", PASSWORD)
        assert await link.registry_login("other.example") is None
        with pytest.raises(InvalidInput):
            await link.registry_login("https://x")
    changes = await site.store.changes(0, 1000)
    (login,) = (change.resource for change in changes if isinstance(change.resource, RegistryLogin))
    assert login.sealed
    assert PASSWORD not in str([dataclasses.asdict(change.resource) for change in changes])  # type: ignore[call-overload]
