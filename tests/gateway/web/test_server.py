"""What is served, and to whom: a real server on loopback, and requests as browsers, other sites and tools send them.

It is the test of netvps.gateway.web.assets, too.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from netvps.errors import Unavailable
from netvps.gateway.web import logins, server
from netvps.gateway.web.server import COOKIE
from tests.gateway.web.world import ANN, BOB, Person, World, a_world
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[3]


async def test_a_key_logs_in_with_a_cookie_that_scripts_and_other_sites_do_not_get(world: World) -> None:
    async with world.person() as ann:
        answer = await ann.get("/session")
        assert await answer.json() == {"user": None, "server": ""}
        assert await ann.post("/login", {"key": f" {ANN}\n"}) == (200, {"user": "ann", "server": "lab"})
        morsel = ann.morsel
        assert COOKIE == "__Host-netvps"
        flags = (morsel["secure"], morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"])
        assert flags == (True, True, "Strict", "/", "")
        assert int(morsel["max-age"]) == logins.LOGIN_SECONDS
        answer = await ann.get("/session")
        assert await answer.json() == {"user": "ann", "server": "lab"}
        cookie = ann.cookie
        assert (await ann.post("/logout", {}))[0] == 200
        assert ann.cookie == ""
        ann.cookie = cookie
        assert await (await ann.get("/session")).json() == {"user": None, "server": ""}
    assert [account.closed for account in world.accounts.made] == [True]


@pytest.mark.parametrize(
    "key", ["", "nv_x", "admin", f"{ANN}0", ANN.upper(), "nv_" + "0" * 12 + "_" + "0" * 64, "ü", "\x00"]
)
async def test_a_wrong_key_is_refused_with_words(world: World, key: str) -> None:
    async with world.person() as ann:
        status, found = await ann.post("/login", {"key": key})
        assert status == 403
        assert "API key" in found["error"]
        assert ann.cookie == ""
    assert world.accounts.made == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b"\xff\xfe", 400), (b"[" * 4000, 400),
        (b'{"key": 1}', 400), (b'{"key": "a", "link": "b"}', 400), (b"{}", 400), (b"x" * 5000, 413),
    ],
)  # fmt: skip
async def test_what_is_no_login_is_refused(world: World, body: bytes, status: int) -> None:
    async with world.person() as ann:
        found, words = await ann.post("/login", body, content_type="application/json")
        assert (found, bool(words["error"])) == (status, True)


async def test_a_form_of_another_site_is_no_login(world: World) -> None:
    async with world.person() as ann:
        status, _ = await ann.post("/login", b"key=x", content_type="application/x-www-form-urlencoded")
        assert status == 415


async def test_while_the_server_is_away_no_address_is_blamed(world: World) -> None:
    world.accounts.error = Unavailable("the server does not answer")
    async with world.person() as ann:
        for _ in range(30):
            assert await ann.post("/login", {"key": ANN}) == (503, {"error": "the server does not answer"})
        world.accounts.error = None
        await ann.log_in()


async def test_guessing_is_limited_by_address_and_others_log_in_meanwhile(tmp_path: Path) -> None:
    async with a_world(tmp_path, proxies=["127.0.0.1"]) as world, world.person() as guesser, world.person() as ann:
        codes = [
            (await guesser.post("/login", {"key": BOB[:-1] + "0"}, x_forwarded_for="203.0.113.9"))[0] for _ in range(15)
        ]
        assert codes[0] == 403
        assert codes[-1] == 429
        assert codes.count(403) <= 11
        status, words = await guesser.post("/login", {"key": ANN}, x_forwarded_for="203.0.113.9")
        assert (status, "try again" in words["error"]) == (429, True), "also with a good key"
        status, _ = await ann.post("/login", {"key": ANN}, x_forwarded_for="203.0.113.10")
        assert status == 200


async def test_a_link_logs_in_once_and_not_for_long(world: World) -> None:
    link = world.server.link()
    base, _, token = link.partition("#link=")
    assert base == f"{world.url}/"
    async with world.person() as ann:
        assert await ann.post("/login", {"link": token}) == (200, {"user": "ann", "server": "lab"})
        for used in (token, "", "x"):
            status, words = await ann.post("/login", {"link": used})
            assert (status, "used already, or is too old" in words["error"]) == (403, True)
        late = world.server.link().partition("#link=")[2]
        world.clock.now += logins.LINK_SECONDS + 1
        assert (await ann.post("/login", {"link": late}))[0] == 403


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example", "https://127.0.0.1"])
async def test_other_sites_pages_change_nothing_and_open_no_terminal(ann: Person, world: World, origin: str) -> None:
    for path in ("/login", "/logout"):
        status, words = await ann.post(path, {"key": ANN}, origin=origin)
        assert (status, "only pages of" in words["error"]) == (403, True)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await ann.terminal(origin=origin)
    assert refused.value.status == 403
    assert len(world.logins) == 1


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:80@127.0.0.1"])
async def test_a_name_of_another_site_that_points_here_gets_nothing(ann: Person, host: str) -> None:
    for path in ("/", "/session", "/static/page.js", "/terminal", "/nothing"):
        answer = await ann.get(path, host=host)
        assert answer.status == 421
        assert "open that address" in (await answer.json())["error"]


@pytest.mark.parametrize(
    "path", ["/", "/session", "/static/page.js", "/static/xterm.js", "/nothing", "/terminal", "/healthz"]
)
async def test_every_answer_has_the_headers_that_protect_it(world: World, path: str) -> None:
    async with world.person() as ann:
        headers = (await ann.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    found = {name: headers[name] for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")}
    assert found == {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")
    assert "Access-Control-Allow-Origin" not in headers


async def test_the_page_names_a_new_nonce_each_time(world: World) -> None:
    async with world.person() as ann:
        nonces = set()
        for _ in range(2):
            answer = await ann.get("/")
            nonce = (await answer.text()).partition('name="nonce" content="')[2].partition('"')[0]
            assert f"'nonce-{nonce}'" in answer.headers["Content-Security-Policy"]
            nonces.add(nonce)
        assert len(nonces) == 2


async def test_files_are_sent_again_only_when_they_changed(world: World) -> None:
    async with world.person() as ann:
        answer = await ann.get("/static/xterm.js")
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        again = await ann.get("/static/xterm.js", if_none_match=answer.headers["ETag"])
        assert again.status == 304
        plain = await ann.get("/static/xterm.js", accept_encoding="identity")
        assert plain._body == (ROOT / "netvps/gateway/web/static/xterm.js").read_bytes()
        for name in ("index.html", "vendor.json", "..%2fassets.py", "xterm.LICENSE", "none.js"):
            assert (await ann.get(f"/static/{name}")).status == 404


async def test_a_path_before_all_is_served_with_and_without_it(tmp_path: Path) -> None:
    async with a_world(tmp_path, public_url="https://vps.example.org/netvps") as world, world.person() as ann:
        assert world.server.link().startswith("https://vps.example.org/netvps/#link=")
        for base in ("/netvps", ""):
            for path in ("/", "/session", "/static/page.css", "/healthz"):
                assert (await ann.get(f"{base}{path}", host="vps.example.org")).status == 200
        status, _ = await ann.post(
            "/netvps/login", {"key": ANN}, host="vps.example.org", origin="https://vps.example.org"
        )
        assert status == 200
        assert (await ann.get("/")).headers["Strict-Transport-Security"]


async def test_without_a_login_there_is_no_terminal(world: World) -> None:
    async with world.person() as stranger:
        for cookie in ("", "x", "ü" * 1000):
            stranger.cookie = cookie
            terminal = await stranger.terminal(first=None)
            assert (await terminal.end())[0] == logins.LOGIN_ENDED
        assert (await stranger.get("/terminal")).status == 400


async def test_a_login_that_is_not_used_for_hours_or_is_a_day_old_is_over(world: World, ann: Person) -> None:
    terminal = await ann.terminal()
    await terminal.until(b"UI term=")
    world.clock.now += logins.IDLE_SECONDS - 1
    await terminal.press(b"z")
    await terminal.until(b"size=100x30")
    world.clock.now += logins.IDLE_SECONDS - 1
    await world.logins.review()
    assert (await (await ann.get("/session")).json())["user"] == "ann"
    world.clock.now += logins.IDLE_SECONDS + 1
    await world.logins.review()
    assert await terminal.end() == (logins.LOGIN_ENDED, "your login ended: it was not used for hours")
    assert (await (await ann.get("/session")).json())["user"] is None
    await ann.log_in()
    for _ in range(8):
        world.clock.now += logins.LOGIN_SECONDS / 8 + 1
        await ann.get("/session")
    assert (await (await ann.get("/session")).json())["user"] is None, "a tab that was open for a day logs in again"


async def test_a_revoked_key_ends_the_pages_of_its_login_and_no_others(world: World, ann: Person) -> None:
    async with world.person() as bob:
        await bob.log_in(BOB)
        terminals = [await each.terminal() for each in (ann, bob)]
        for terminal in terminals:
            await terminal.until(b"UI term=")
        world.accounts.error = Unavailable("away")
        await world.logins.review()
        world.accounts.error = None
        del world.accounts.keys[ANN]
        await world.logins.review()
        assert await terminals[0].end() == (logins.LOGIN_ENDED, "this API key is unknown, expired or revoked")
        await terminals[1].press(b"z")
        await terminals[1].until(b"size=")


async def test_the_end_of_the_program_says_so_to_pages(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        person = await world.person().__aenter__()
        await person.log_in()
        terminal = await person.terminal()
        await terminal.until(b"UI term=")
        ended = asyncio.create_task(terminal.end())
    assert await ended == (1012, "netvps web is restarting")
    await person.__aexit__()
    assert [account.closed for account in world.accounts.made] == [True]


async def test_connections_that_send_no_request_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.3)
    async with a_world(tmp_path) as world:
        port = int(world.url.rpartition(":")[2])
        for start in (b"", b"GET / HTTP/1.1\r\nHost: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
            writer.close()


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000])
async def test_what_is_no_http_gets_no_page(world: World, junk: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(junk)
    writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    assert b" 200 " not in answer.partition(b"\r\n")[0]


def test_the_files_of_xterm_are_those_of_its_package() -> None:
    """scripts/vendor writes them, checked against the integrity that vendor.json names."""
    from hashlib import sha256

    folder = ROOT / "netvps/gateway/web/static"
    lines = (line.split() for line in (folder / "vendor.sha256").read_text().splitlines())
    listed = {name: digest for digest, name in lines}
    packages = json.loads((folder / "vendor.json").read_text()).values()
    named = {name for package in packages for name in package["files"].values()}
    assert listed.keys() == named
    assert {name: sha256((folder / name).read_bytes()).hexdigest() for name in named} == listed
