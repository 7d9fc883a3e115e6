"""URLs of ports, for whoever may log in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from netvps.domain.http.site import Site
from netvps.errors import NotFound, WrongState
from netvps.services.http.urls import Urls
from netvps.services.http.visits import Visits
from tests.fakes.vault import FakeVault
from tests.fakes.world import ALICE, BOB

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_urls_and_logins(world: World) -> None:
    await world.session("dev1", ALICE)
    visits = Visits(world.store, world.clock, world.access, FakeVault(), Site.parse("https://apps.example", "root"))
    urls = Urls(world.store, world.clock, visits)
    url = await urls.get(ALICE, "dev1", 3000)
    assert url.uri == "https://3000--dev1--alice.apps.example/"
    login = urlsplit(await urls.log_in(ALICE, "dev1", 3000))
    assert (login.netloc, login.path) == ("3000--dev1--alice.apps.example", "/.netvps/enter")
    cookie = await visits.enter(login.netloc, parse_qs(login.query)["code"][0])
    assert (await visits.visit(login.netloc, cookie, "")).user == "alice"
    for call in (urls.get, urls.log_in):
        with pytest.raises(NotFound, match=r"no session dev1\.alice"):
            await call(BOB, "dev1.alice", 3000)
    await world.session("a--b", ALICE)
    with pytest.raises(WrongState, match=r"has no host below apps\.example"):
        await urls.get(ALICE, "a--b", 3000)
