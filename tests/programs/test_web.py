"""`netvps web` as a program: how it logs people in at a real server, what it refuses to start with, TLS, and links."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from netvps import exit_codes
from netvps.cli.server.contexts import Context
from netvps.errors import ConfigError, NotPermitted, Unauthenticated, Unavailable
from netvps.process import tls_files
from netvps.programs import web
from netvps.programs.web import KEY_TITLE, ClientAccount, ContextAccounts
from tests.rpc.site import ALICE, ROOT, Site, open_site
from tests.support.patience import PATIENCE

GIVEN: dict[str, Any] = {
    "open_link": True,
    "public_url": "",
    "tls_cert": None,
    "tls_key": None,
    "trusted_proxy": (),
}


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runtime folder; its path is short enough for sockets, which that of a test's folder is not always."""
    with tempfile.TemporaryDirectory(prefix="nvw") as folder:
        monkeypatch.setenv("NETVPS_STATE_DIR", f"{folder}/s")
        monkeypatch.setenv("NETVPS_RUNTIME_DIR", f"{folder}/r")
        yield Path(folder, "r")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


def local(site: Site) -> Context:
    return Context("local", site.local.address)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Links; without its set-up, the log goes to the same place."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("http")]


async def titles(site: Site) -> list[str]:
    return [key.title for key in (await site.services.access.list_api_keys(ROOT, "me")).items]


async def test_a_key_logs_in_at_a_local_socket_and_over_tls_and_a_wrong_one_never_as_this_account(site: Site) -> None:
    remote = await site.remote("alice")
    key = remote.api_key
    assert key is not None
    opened: list[ClientAccount] = []
    for context in (local(site), Context("lab", remote.address, remote.ca_certificate, key)):
        account = await ContextAccounts(context).of_key(key)
        assert (account.user, account.credential) == ("alice", key)
        await account.check()
        opened.append(account)
        for wrong in ("", "x", f"nv_{'0' * 12}_{'0' * 64}"):
            with pytest.raises(Unauthenticated):
                await ContextAccounts(context).of_key(wrong)
    (kept,) = (await site.services.access.list_api_keys(ALICE, "me")).items
    await site.services.access.delete_api_key(ROOT, "alice", kept.kid)
    for account in opened:
        with pytest.raises(Unauthenticated):
            await account.check()
        checking = asyncio.create_task(account.check())
        await asyncio.sleep(0)
        await account.close()
        await account.close()
        with pytest.raises((Unavailable, Unauthenticated)):
            await checking
        with pytest.raises(Unavailable, match="ended meanwhile"):
            await account.check()


async def test_a_link_of_a_local_socket_has_a_key_of_its_own_with_an_end(site: Site) -> None:
    account = await ContextAccounts(local(site)).own()
    assert (account.user, await titles(site)) == ("root", [KEY_TITLE])
    (key,) = (await site.services.access.list_api_keys(ROOT, "me")).items
    assert key.expire_time is not None
    await account.close()
    assert await titles(site) == []


async def test_a_link_of_a_context_with_a_key_uses_that_one(site: Site) -> None:
    remote = await site.remote("alice")
    context = Context("lab", remote.address, remote.ca_certificate, remote.api_key)
    account = await ContextAccounts(context).own()
    assert (account.user, account.credential) == ("alice", remote.api_key)
    await account.close()
    assert len((await site.services.access.list_api_keys(ALICE, "me")).items) == 1


async def test_a_server_that_is_away_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await ContextAccounts(Context("local", f"unix:{tmp_path}/none")).own()


async def test_an_account_without_rights_gets_no_link() -> None:
    async with open_site(local_users={os.geteuid(): "alice"}) as site:
        with pytest.raises(NotPermitted):
            await ContextAccounts(local(site)).own()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--listen", "0.0.0.0:7490"], "--listen 0.0.0.0: other machines reach it only with TLS"),
        (["--listen", "here"], "--listen: 'here' is no IP address with a port"),
        (["--public-url", "http://vps.example.org"], "--public-url: 'http://vps.example.org' is not https"),
        (["--trusted-proxy", "caddy"], "--trusted-proxy: 'caddy' is no IP address"),
        (["--tls-cert", "/none/cert.pem"], "--tls-cert and --tls-key: give both, or none"),
        (["--tls-cert", "/none/cert.pem", "--tls-key", "/none/key.pem"], "No such file or directory"),
        (["--context", "nowhere"], "there is no context 'nowhere'"),
    ],
)
def test_it_does_not_start_with_what_is_unsafe_or_wrong(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = web.main(flags)
    said = capsys.readouterr().err
    assert code in {exit_codes.of(ConfigError("")), exit_codes.NOT_FOUND}
    assert said.startswith("netvps web: ")
    assert words in said
    assert len(said.splitlines()) == 1


async def test_a_port_in_use_is_said_so(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"netvps web cannot listen on 127.0.0.1:{port}: address in use; .*--listen"
        ):
            await web.run(local(site), GIVEN | {"listen": f"127.0.0.1:{port}"})


async def test_it_serves_with_tls_gives_links_to_whom_asks_and_reads_a_new_certificate(
    site: Site,
    runtime: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tls_files, "LOOK_SECONDS", 0.05)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def write() -> None:
        own = site.ca.server_certificate(("vps.example.org",))
        certificate.write_text(own.certificate)
        key.write_text(own.key)

    write()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = GIVEN | {"listen": f"127.0.0.1:{port}", "tls_cert": str(certificate), "tls_key": str(key)}
    running = asyncio.create_task(web.run(local(site), given))
    links: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not links and not running.done():
            links = printed(capsys)
            await asyncio.sleep(0.02)
    assert links[0].startswith(f"https://127.0.0.1:{port}/#link=")
    await asyncio.wait_for(web.run(local(site), given), 10)  # the second only asks the first
    links += printed(capsys)
    assert len(set(links)) == 2
    trusting = ssl.create_default_context(cadata=site.ca.certificate)
    headers = {"Origin": f"https://localhost:{port}", "Host": f"localhost:{port}"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:

        async def serial() -> str:
            """Of the certificate that a new connection gets."""
            options = {"ssl": trusting, "server_hostname": "vps.example.org"}
            _, writer = await asyncio.open_connection("127.0.0.1", port, **options)  # type: ignore[arg-type]
            found = writer.get_extra_info("peercert")["serialNumber"]
            writer.close()
            return str(found)

        for link in links:
            token = link.partition("#link=")[2]
            async with http.post(
                f"https://127.0.0.1:{port}/login",
                json={"link": token},
                headers=headers,
                ssl=trusting,
                server_hostname="vps.example.org",
            ) as answer:
                assert (answer.status, (await answer.json())["user"]) == (200, "root")
        assert await titles(site) == [KEY_TITLE] * 2
        before = await serial()
        write()
        async with asyncio.timeout(PATIENCE):
            while await serial() == before:
                await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await running
    assert await titles(site) == [], "its logins end with it"
    assert not list(runtime.glob("web-*"))
