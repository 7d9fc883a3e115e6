"""A host leads to one port of one session, or nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.http.site import Place, Site
from netvps.domain.names import SessionName
from netvps.errors import InvalidInput, WrongState

LOCAL = Site.parse("http://localhost:7481", "ann")
APPS = Site.parse("https://apps.example", "ann")
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("8080--dev1--bob.localhost", "8080 dev1.bob"),
        ("dev1--bob.localhost", "8080 dev1.bob"),
        ("3000--dev1.localhost", "3000 dev1.ann"),
        ("dev1.localhost", "8080 dev1.ann"),
        ("80--8080.localhost", "80 8080.ann"),
        ("login.localhost", None),
        ("login--bob.localhost", "8080 login.bob"),
        ("localhost", None),
        ("a.dev1.localhost", None),
        ("dev1.apps.example", None),
        ("0--dev1.localhost", None),
        ("65536--dev1.localhost", None),
        ("99999999999999999999--dev1.localhost", None),
        ("8080.localhost", "8080 8080.ann"),
        ("a--b--c--d.localhost", None),
        ("--dev1.localhost", None),
        ("dev1--.localhost", None),
        ("dev_1.localhost", None),
        ("", None),
    ],
)
def test_what_a_host_leads_to(host: str, place: str | None) -> None:
    found = LOCAL.place_of(host)
    assert (found and f"{found.port} {found.session}") == place


def test_below_a_domain_a_host_names_the_owner() -> None:
    assert APPS.place_of("dev1.apps.example") is None
    assert APPS.place_of("8080--dev1--bob.apps.example") == Place(SessionName("bob", "dev1"), 8080)


@given(NAMES, NAMES, st.integers(1, 65_535), st.sampled_from([LOCAL, APPS]))
def test_the_host_of_a_port_leads_to_it(name: str, owner: str, port: int, site: Site) -> None:
    place = Place(SessionName(owner, name), port)
    try:
        host = site.host_of(place)
    except WrongState:
        assert "--" in f"{name}{owner}" or name.isdigit()
        return
    assert site.place_of(host) == place
    assert len(host.partition(".")[0]) <= 63


def test_the_shortest_host_is_given() -> None:
    assert LOCAL.host_of(Place(SessionName("ann", "dev1"), 8080)) == "dev1.localhost"
    assert LOCAL.host_of(Place(SessionName("bob", "dev1"), 80)) == "80--dev1--bob.localhost"
    assert LOCAL.host_of(Place(SessionName("ann", "login"), 8080)) == "login--ann.localhost"


def test_names_that_are_too_long_have_no_host() -> None:
    with pytest.raises(WrongState, match="more than 63 characters"):
        APPS.host_of(Place(SessionName("o" * 32, "n" * 40), 80))


@pytest.mark.parametrize(
    "url",
    [
        "apps.example",
        "ftp://a",
        "https://192.0.2.1",
        "https://a/b",
        "https://a?b",
        "https://A_b",
        "https://",
        "https://a:99999",
    ],
)
def test_a_site_is_the_url_of_a_domain(url: str) -> None:
    with pytest.raises(InvalidInput, match="no URL of a domain"):
        Site.parse(url, "ann")


def test_urls() -> None:
    assert LOCAL.url("dev1.localhost") == "http://dev1.localhost:7481"
    assert APPS.url("a.apps.example") == "https://a.apps.example"
    assert (APPS.secure, APPS.login_host) == (True, "login.apps.example")
