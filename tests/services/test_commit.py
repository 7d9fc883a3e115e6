"""A named transaction has a point on either side of its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps import faults
from netvps.domain.access.accounts import Role, User
from netvps.services.commit import write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.world import World


@pytest.mark.parametrize(("when", "kept"), [("before", False), ("after", True)])
async def test_a_fault_beside_the_commit(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, kept: bool
) -> None:
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / f"access.user.{when}_commit").write_text("raise")
    with pytest.raises(faults.InjectedFault):
        async with write(world.store, "test", "access.user") as tx:
            await tx.put(User("carol", Role.USER, world.clock()))
    assert (await world.row(User, "carol") is not None) is kept
