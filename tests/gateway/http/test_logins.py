"""A browser logs in at the host of logins (netvps.gateway.http.logins), and is led to its page, and nowhere else."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.gateway.http.conftest import ALICE, World
from tests.gateway.http.test_exchange import echo
from tests.gateway.http.test_requests import NAVIGATE


def location(answer: str) -> str:
    return next(line for line in answer.split("\r\n") if line.startswith("Location: ")).removeprefix("Location: ")


async def test_a_browser_logs_in_and_comes_back_to_its_page(world: World) -> None:
    await world.app(echo)
    first = await world.get("/a?b=c&d", ALICE, *NAVIGATE, user="")
    assert first.startswith("HTTP/1.1 303 ")
    login = urlsplit(location(first))
    assert login.netloc == "login.localhost:7481"
    form = await world.get(f"/?{login.query}", "login.localhost", user="")
    assert "<form method=post action=/login>" in form
    key = f"key=alice&host={ALICE}&path=%2Fa%3Fb%3Dc%26d"
    head = f"POST /login HTTP/1.1\r\nHost: login.localhost:7481\r\nContent-Length: {len(key)}\r\n"
    evil = await world.send(f"{head}Origin: http://evil--mallory.localhost:7481\r\n\r\n{key}".encode())
    assert evil.startswith(b"HTTP/1.1 403 ")
    entered = (await world.send(f"{head}Origin: http://login.localhost:7481\r\n\r\n{key}".encode())).decode()
    assert "Set-Cookie: netvps=login-alice; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax\r\n" in entered
    assert "Domain" not in entered
    url = urlsplit(location(entered))
    assert (url.netloc, url.path) == (f"{ALICE}:7481", "/.netvps/enter")
    last = await world.get(f"{url.path}?{url.query}", ALICE, *NAVIGATE, user="")
    assert "Set-Cookie: netvps=alice; " in last
    assert location(last) == "/a?b=c&d"
    assert not world.plane.dials


async def test_a_browser_that_is_logged_in_is_led_on(world: World) -> None:
    answer = await world.get(f"/?host={ALICE}&path=/x", "login.localhost", user="login-alice")
    assert parse_qs(urlsplit(location(answer)).query) == {"code": [f"{ALICE}/alice"], "path": ["/x"]}
    assert "alice" in await world.get("/", "login.localhost", user="login-alice")


@pytest.mark.parametrize("host", ["evil.example", "localhost", "login.localhost", "a--b--c--d.localhost"])
async def test_a_login_leads_nowhere_else(world: World, host: str) -> None:
    assert (await world.get(f"/?host={host}&path=/", "login.localhost", user="login-alice")).startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "https://evil.example/", "/a%0d%0aX:1"])
async def test_a_code_leads_to_a_path_of_its_host(world: World, path: str) -> None:
    answer = await world.get(f"/.netvps/enter?code={ALICE}/alice&path={path}", ALICE, user="")
    assert location(answer) == "/"


async def test_a_bad_form_and_a_bad_key_are_answered(world: World) -> None:
    origin = "Origin: http://login.localhost:7481\r\n"
    for body, status in ((b"key=wrong", b"403"), (b"\xff\xfe", b"403"), (b"", b"403")):
        head = f"POST /login HTTP/1.1\r\nHost: login.localhost\r\n{origin}Content-Length: {len(body)}\r\n\r\n"
        assert (await world.send(head.encode() + body)).startswith(b"HTTP/1.1 " + status)
