"""What a gateway asks about HTTP requests is answered by what decides."""

from __future__ import annotations

from typing import Any, cast

import pytest

from netvps.errors import InternalError, NotFound
from netvps.gateway.worker.web_messages import IsServed, Visit, Visited, WebAnswers, WebLogged, WebLogin
from tests.gateway.http.conftest import ALICE, BOB, FakePlane


class Names:
    def serves(self, host: str) -> bool:
        return host == ALICE


async def test_visits_logins_and_names() -> None:
    answers = WebAnswers(cast("Any", FakePlane()), cast("Any", Names()))  # it decides as Visits does
    found = await answers.answer(Visit(7, ALICE, "alice", ""))
    assert isinstance(found, Visited)
    assert (found.id, found.uid, found.owner, found.port, found.user) == (7, "uid-alice", "alice", 8080, "alice")
    with pytest.raises(NotFound):
        await answers.answer(Visit(8, BOB, "", "alice"))

    async def step(name: str, given: str, host: str = "") -> str:
        answer = await answers.answer(WebLogin(1, name, given, host))
        assert isinstance(answer, WebLogged)
        return answer.result

    login = await step("log_in", "alice")
    assert await step("user_of", login) == "alice"
    assert await step("enter", await step("code", login, ALICE), ALICE) == "alice"
    assert await step("enter_by_link", f"secret of {ALICE}", ALICE) == "link-1"
    with pytest.raises(InternalError):
        await step("other", "")
    assert [await answers.answer(IsServed(2, host)) for host in (ALICE, BOB)] == [
        IsServed(2, ALICE, served=True),
        IsServed(2, BOB),
    ]
