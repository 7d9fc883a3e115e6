"""What a gateway asks about HTTP requests is answered by what decides."""

from __future__ import annotations

import pytest

from netvps.errors import InternalError, NotFound
from netvps.gateway.worker.web_messages import Visit, WebLogin, answer_login, answer_visit
from netvps.services.http.visits import Visits
from tests.gateway.http.conftest import ALICE, BOB, FakePlane


async def test_visits_and_logins() -> None:
    plane: Visits = FakePlane()  # type: ignore[assignment] # it decides as Visits does
    found = await answer_visit(plane, Visit(7, ALICE, "alice", ""))
    assert (found.id, found.uid, found.owner, found.port, found.user) == (7, "uid-alice", "alice", 8080, "alice")
    with pytest.raises(NotFound):
        await answer_visit(plane, Visit(8, BOB, "", "alice"))
    login = (await answer_login(plane, WebLogin(1, "log_in", "alice", ""))).result
    assert (await answer_login(plane, WebLogin(2, "user_of", login, ""))).result == "alice"
    code = (await answer_login(plane, WebLogin(3, "code", login, ALICE))).result
    assert (await answer_login(plane, WebLogin(4, "enter", code, ALICE))).result == "alice"
    with pytest.raises(InternalError):
        await answer_login(plane, WebLogin(5, "other", "", ""))
