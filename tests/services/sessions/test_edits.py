from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import Changed
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_a_repeated_delete_answers_deleted_when_the_row_is_gone(world: World) -> None:
    await world.runner()
    await world.session()
    session = await world.sessions.delete(ALICE, "dev1", request_id="r1")
    assert (await world.reported(session, SessionState.DELETED)).desired is DesiredState.DELETED
    assert await world.rows(Session) == []
    again = await world.sessions.delete(ALICE, "dev1", request_id="r1")
    assert (again.uid, again.state) == (session.uid, SessionState.DELETED)


async def test_expected_revision_guards_a_race(world: World) -> None:
    await world.runner()
    session = await world.session()
    with pytest.raises(Changed, match=r"look at it again, then decide"):
        await world.sessions.stop(ALICE, "dev1", expected_revision=session.revision - 1)
    await world.sessions.stop(ALICE, "dev1", expected_revision=session.revision)
    with pytest.raises(Changed):
        await world.sessions.delete(ALICE, "dev1", expected_revision=session.revision)


async def test_what_no_runner_has_stops_and_goes_at_once(world: World) -> None:
    await world.session()
    stopped = await world.sessions.stop(ALICE, "dev1")
    assert (stopped.state, stopped.observed_generation) == (SessionState.STOPPED, stopped.generation)
    await world.runner()
    assert (await world.sessions.get(ALICE, "dev1")).runner == ""  # it was not asked to run
    assert (await world.sessions.start(ALICE, "dev1")).runner_name == "lab1"
