"""The process of the HTTP gateway, as netvps.programs.wiring.apps starts it: it serves, and ends with its server."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps.adapters.ca.opening import open_ca
from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings, load


def _status(port: int, host: str, path: str = "/", tls: ssl.SSLContext | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if tls is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=tls)
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status


async def test_it_serves_with_the_server_and_ends_with_it(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.runtime.mkdir(parents=True)
    async with build(settings) as plane:
        assert await asyncio.to_thread(_status, settings.apps_port, "dev1.localhost") == 401
        assert await asyncio.to_thread(_status, settings.apps_port, "login.localhost") == 200
        await plane.apps.stop()
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(_status, settings.apps_port, "dev1.localhost")


async def test_it_serves_with_a_certificate_and_the_webroot_of_certbot(
    server_flags: dict[str, str], tmp_path: Path
) -> None:
    ca = open_ca(tmp_path / "ca", "cluster", lambda: datetime.now(UTC))
    own = ca.server_certificate(("apps.example",))
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text(own.certificate)
    key.write_text(own.key)
    challenges = tmp_path / ".well-known/acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumb")
    files = {"apps_tls_cert": str(certificate), "apps_tls_key": str(key), "apps_acme_dir": str(tmp_path)}
    settings = load(ServerSettings, server_flags | files | {"apps_url": "https://apps.example"})
    settings.paths.runtime.mkdir(parents=True)
    tls = ssl.create_default_context(cadata=ca.certificate)
    tls.check_hostname = False
    async with build(settings):
        asked = [("login.apps.example", "/"), ("x.example", "/.well-known/acme-challenge/token")]
        asked += [("x.example", "/.well-known/acme-challenge/../cert.pem")]
        statuses = [await asyncio.to_thread(_status, settings.apps_port, *one, tls) for one in asked]
    assert statuses == [200, 200, 404]
