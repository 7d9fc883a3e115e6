"""Who may open what, what wakes a session, and what is said where there is no app."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect, LoginKind
from netvps.gateway.http import requests
from netvps.gateway.http.head import parse_request
from tests.gateway.http.conftest import ALICE, BOB, World
from tests.gateway.http.test_exchange import echo

NAVIGATE = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none", "Accept: text/html")


def sleeps(world: World, effect: LoginEffect) -> None:
    world.plane.states["alice"] = replace(
        world.plane.states["alice"], state=SessionState.STOPPED, effect=effect, message=""
    )
    for listener in world.plane.session_listeners:
        listener("uid-alice")


async def test_a_program_sends_its_api_key_beside_the_authorization_of_the_app(world: World) -> None:
    await world.app(echo)
    headers = ("Netvps-Authorization: Bearer alice", "Authorization: Basic app")
    answer = await world.get("/", ALICE, *headers, user="")
    assert answer.startswith("HTTP/1.1 200 ")
    assert "authorization: Basic app\r\n" in answer
    assert "Bearer" not in answer


async def test_who_is_unknown_learns_nothing_of_what_exists(world: World) -> None:
    await world.app(echo)
    answers = [await world.get("/", host, user="") for host in (ALICE, BOB, "none--noone.localhost")]
    assert all(answer.startswith("HTTP/1.1 401 ") for answer in answers)
    assert len(set(answers)) == 1


async def test_a_foreign_session_is_like_one_that_does_not_exist(world: World) -> None:
    await world.app(echo, "bob")
    none = "8080--dev9--bob.localhost"  # as long as the name of the other, so that heads are equal, too
    foreign = await world.get("/", BOB)
    assert foreign.startswith("HTTP/1.1 404 ")
    assert foreign.replace(BOB, none) == await world.get("/", none)
    assert not world.plane.dials


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        (("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"), False),
        (("Sec-Fetch-Site: same-site", "Origin: http://evil--mallory.localhost:7481"), False),
        (("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), False),
        (("Origin: http://evil--mallory.localhost:7481",), False),
        (("Origin: null",), False),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), True),
        (("Sec-Fetch-Site: same-site", "Origin: http://3000--dev2.localhost:7481"), True),
        (("Sec-Fetch-Site: same-origin",), True),
        ((f"Origin: http://{ALICE}:7481",), True),
        ((), True),
    ],
)
async def test_pages_of_others_cannot_use_the_cookie(world: World, headers: tuple[str, ...], passes: bool) -> None:
    await world.app(echo)
    answer = await world.get("/", ALICE, *headers)
    assert answer.startswith("HTTP/1.1 200 " if passes else "HTTP/1.1 403 ")
    assert bool(world.plane.dials) is passes


async def test_where_nothing_listens_it_says_what_does(world: World) -> None:
    answer = await world.get("/")
    assert answer.startswith("HTTP/1.1 502 ")
    assert "nothing listens on port 8080 of session dev1" in answer
    assert "these ports listen: 3000" in answer


async def test_many_requests_wake_a_session_once_and_pass_when_it_runs(world: World) -> None:
    await world.app(echo)
    sleeps(world, LoginEffect.START)
    waiting = [asyncio.ensure_future(world.get("/", ALICE, "Accept: application/json")) for _ in range(20)]
    while not world.plane.wakes:
        await asyncio.sleep(0)
    world.plane.looks.set()
    answers = await asyncio.gather(*waiting)
    assert all(answer.startswith("HTTP/1.1 200 ") for answer in answers)
    assert world.plane.wakes == [("uid-alice", "alice", LoginKind.PLAIN)]


async def test_a_person_gets_a_page_that_asks_again_while_it_wakes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_GRACE", 0.01)
    sleeps(world, LoginEffect.START)
    page = await world.get("/", ALICE, *NAVIGATE)
    assert page.startswith("HTTP/1.1 503 ")
    assert "Retry-After: 1\r\n" in page
    assert '<meta http-equiv="refresh" content="1">' in page
    world.plane.looks.set()
    while "nothing listens on its port 8080 yet" not in page:  # it runs, and its app does not listen yet
        page = await world.get("/", ALICE, *NAVIGATE)
    await world.app(echo)
    assert (await world.get("/", ALICE, *NAVIGATE)).startswith("HTTP/1.1 200 ")
    assert len(world.plane.wakes) == 1


@pytest.mark.parametrize(
    ("method", "headers"),
    [("HEAD", ()), ("GET", ("User-Agent: kube-probe/1.30",)), ("GET", ("Sec-Purpose: prefetch",))],
)
async def test_a_probe_neither_wakes_nor_counts(world: World, method: str, headers: tuple[str, ...]) -> None:
    sleeps(world, LoginEffect.START)
    assert (await world.get("/", ALICE, *headers, method=method)).startswith("HTTP/1.1 503 ")
    assert not world.plane.wakes
    sleeps(world, LoginEffect.NONE)
    await world.app(echo)
    await world.get("/", ALICE, *headers, method=method)
    await world.get("/")
    assert [counted for _, _, counted in world.plane.dials] == [False, True]


@pytest.mark.parametrize("effect", [LoginEffect.TERMINAL, LoginEffect.ASKED, LoginEffect.REFUSED])
async def test_an_explicit_stop_holds(world: World, effect: LoginEffect) -> None:
    sleeps(world, effect)
    answer = await world.get("/")
    assert answer.startswith("HTTP/1.1 503 ")
    assert "netvps start dev1" in answer
    assert not world.plane.wakes


async def test_a_request_waits_until_the_app_of_a_woken_session_listens(world: World) -> None:
    sleeps(world, LoginEffect.START)
    world.plane.looks.set()
    waiting = asyncio.ensure_future(world.get("/"))
    while not world.plane.dials:
        await asyncio.sleep(0)
    await world.app(echo)
    assert (await waiting).startswith("HTTP/1.1 200 ")


async def test_a_public_url_takes_requests_of_any_page_and_tells_guests_nothing(world: World) -> None:
    await world.app(echo)
    foreign = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://evil.example")
    assert (await world.get("/", ALICE, *foreign)).startswith("HTTP/1.1 403 ")
    world.plane.public.add(ALICE)
    answer = await world.get("/", ALICE, *foreign)
    assert answer.startswith("HTTP/1.1 200 ")
    assert "netvps=" not in answer
    sleeps(world, LoginEffect.REFUSED)
    text = await world.get("/", ALICE, user="")
    assert text.startswith("HTTP/1.1 503 ")
    assert "dev1" not in text.partition("\r\n\r\n")[2]
    world.plane.states["alice"] = replace(world.plane.states["alice"], effect=LoginEffect.NONE)
    world.plane.apps.clear()
    text = await world.get("/", ALICE, user="")
    assert text.startswith("HTTP/1.1 502 ")
    assert "3000" not in text


async def test_a_link_gives_its_cookie_by_a_redirect_and_says_when_it_has_ended(world: World) -> None:
    answer = await world.get("/.netvps/link?key=secret%20of%20" + ALICE, user="")
    assert answer.startswith("HTTP/1.1 303 ")
    assert "Location: /\r\n" in answer
    assert "Set-Cookie: netvps=link-1; " in answer
    assert "Referrer-Policy: no-referrer\r\n" in answer
    ended = await world.get("/.netvps/link?key=other", ALICE, *NAVIGATE, user="")
    assert ended.startswith("HTTP/1.1 401 ")
    assert "this link has ended" in ended


async def test_a_proxy_on_this_machine_asks_which_hosts_are_served(world: World) -> None:
    async def ask(host: str, *headers: str, domain: str = "Dev1.localhost") -> str:
        return await world.get(f"/.netvps/ask?domain={domain}", host, *headers, user="")

    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert (await ask(host)).startswith("HTTP/1.1 200 ")
    for domain in ("dev9.localhost", "", "a.dev1.localhost"):
        assert "nothing is served" in await ask("127.0.0.1", domain=domain)
    for answer in (await ask("127.0.0.1", "X-Forwarded-For: 192.0.2.1"), await ask(ALICE)):  # of others
        assert "paths below /.netvps/" in answer


def test_only_this_machine_asks() -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:7482\r\n\r\n")
    peers = ("127.0.0.1", "::1", "192.0.2.1", "")
    assert [requests.is_from_this_machine(head, peer) for peer in peers] == [True, True, False, False]
