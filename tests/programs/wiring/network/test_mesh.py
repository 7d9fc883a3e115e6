"""Three servers on one PostgreSQL, as their programs wire them."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from netvps.adapters.store import store as store_module
from netvps.domain.access.accounts import Role, User
from netvps.errors import ConfigError
from netvps.process import clock
from netvps.programs.wiring.control_plane import build
from netvps.programs.wiring.network.mesh import address_of
from netvps.settings import ServerSettings, load
from tests.programs.conftest import flags_of_a_server
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.programs.wiring.control_plane import ControlPlane


@pytest.fixture
async def planes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[ControlPlane]]:
    """Three, whose tick never comes."""
    monkeypatch.setattr(store_module, "_POLL_SECONDS", 3600.0)
    database = str(request.getfixturevalue("cluster").create_database())
    async with AsyncExitStack() as stack:
        planes: list[ControlPlane] = []
        first: ServerSettings | None = None
        for _ in range(3):
            flags = stack.enter_context(flags_of_a_server())
            settings = load(ServerSettings, flags | {"database_url": database})
            settings.paths.prepare()
            if first is not None:
                shutil.copytree(first.paths.state / "ca", settings.paths.state / "ca")
            first = first or settings
            planes.append(await stack.enter_async_context(build(settings)))
        yield planes


@pytest.mark.postgres
async def test_what_one_server_commits_the_others_know_by_its_nudge(planes: list[ControlPlane]) -> None:
    async with asyncio.timeout(PATIENCE):
        for number, plane in enumerate(planes):
            async with plane.store.read() as view:
                before = view.revision
            waiting = [asyncio.ensure_future(other.store.wait(before)) for other in planes]
            async with plane.store.write("test") as tx:
                await tx.put(User(f"user{number}", Role.USER, clock.now()))
            await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    ("flags", "names", "address"),
    [
        ({}, ("127.0.0.1",), "127.0.0.1:7444"),
        ({}, ("127.0.0.1", "::1", "192.0.2.1"), "192.0.2.1:7444"),
        ({"link_port": "9"}, ("::1", "2001:db8::1"), "[2001:db8::1]:9"),
        ({"mesh_address": "mesh.example:1"}, ("vps.example",), "mesh.example:1"),
    ],
)
def test_others_reach_it_at_what_is_set_or_at_its_first_address(
    flags: dict[str, Any], names: tuple[str, ...], address: str
) -> None:
    settings = load(ServerSettings, {"database_url": "postgresql://h/d"} | flags)
    assert address_of(settings, names) == address


def test_a_server_on_sqlite_has_no_others() -> None:
    with pytest.raises(ConfigError, match="mesh_address is for servers that share PostgreSQL"):
        load(ServerSettings, {"mesh_address": "h:1"})
