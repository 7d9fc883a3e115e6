"""Which hosts a session may have for its own, and whom a stored URL lets in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.http.site import Site
from netvps.domain.http.stored import Audience, StoredUrl, check_own_host
from netvps.errors import InvalidInput

SITE = Site.parse("https://apps.lab.example", "root")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
URL = StoredUrl("uid", "alice", 8080, Audience.USERS, NOW, users=("bob",))


@pytest.mark.parametrize("host", ["shop.example", "a.b.c.example", "xn--bcher-kva.example", "lab2.example"])
def test_hosts_that_a_session_may_have(host: str) -> None:
    assert check_own_host(host, SITE, ("netvps.lab.example",)) == host


@pytest.mark.parametrize(
    "host",
    [
        *("shop", "*.example", "Shop.example", "shop.example:80", "shop.example.", "bücher.example", "192.0.2.1"),
        *("apps.lab.example", "x.apps.lab.example", "login.apps.lab.example", "dev1.localhost"),
        *("lab.example", "netvps.lab.example", "-a.example", "a..example", "", "a" * 64 + ".example"),
    ],
)
def test_hosts_that_no_session_may_have(host: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_own_host(host, SITE, ("netvps.lab.example",))
    assert error.value.violations[0].field == "name"


def test_whom_it_lets_in() -> None:
    assert [URL.admits(user) for user in ("bob", "eve")] == [True, False]
    assert replace(URL, audience=Audience.MEMBERS).admits("eve")
    assert not replace(URL, audience=Audience.LINK).admits("bob")
    ends = replace(URL, expire_time=NOW + timedelta(hours=1))
    assert [ends.has_ended(NOW + timedelta(minutes=minutes)) for minutes in (59, 60)] == [False, True]


def test_a_host_of_its_own_has_one_session() -> None:
    assert URL.key == "uid/8080"
    own = replace(URL, name="shop.example")
    assert (own.key, own.id, own.own_host) == ("shop.example", "shop.example", "shop.example")
    link = replace(URL, name="link-1", audience=Audience.LINK)
    assert (link.key, link.id, link.own_host) == ("uid/link-1", "link-1", "")
