"""A small OIDC issuer over real HTTP: discovery, keys, the device flow, and the ways in which an issuer can lie."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

CLIENT, SECRET = "netvps", "hush"
ANN: Mapping[str, Any] = {
    "sub": "8f3a",
    "preferred_username": "Ann.Lee@example.org",
    "email": "ann.lee@example.org",
    "email_verified": True,
    "groups": ["lab", "staff"],
}


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


@cache
def own_key() -> RSAKey:
    return new_key("one")


@dataclass
class FakeIssuer:
    """What it answers; tests change the fields."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: dict(ANN))
    """Claims of whoever confirms."""
    claims: dict[str, Any] = field(default_factory=dict)
    """Lies: in place of what is right."""
    metadata: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Errors of the token endpoint, before anything else."""
    key: RSAKey = field(default_factory=own_key)
    """What signs, and is published."""
    confirmed: bool = False
    hangs: str = ""
    """A path that is never answered."""
    huge: str = ""
    """A path with an endless answer."""
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)

    def id_token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, **self.person, **self.claims}
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, kept, self.key)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rpartition("/")[2]
        self.asked.append(path)
        if path == self.hangs:
            await asyncio.Event().wait()
        if path == self.huge:
            stream = web.StreamResponse()
            await stream.prepare(request)
            while True:
                await stream.write(b" " * (64 << 10))
        if path == "openid-configuration":
            return web.json_response(self._metadata())
        if path == "keys":
            return web.json_response(KeySet([self.key]).as_dict(private=False))
        if path == "confirm":
            self.confirmed = True
            return web.Response(text="you may close this page")
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}" and form.get("client_secret") != SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        answer = self._device() if path == "device" else self._token(form)
        return web.json_response(answer, status=200 if "id_token" in answer or "device_code" in answer else 400)

    def _metadata(self) -> dict[str, Any]:
        said = {
            "issuer": self.url,
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.metadata,
        }
        return {name: value for name, value in said.items() if value is not None}

    def _device(self) -> dict[str, Any]:
        url = f"{self.url}/confirm"
        complete = f"{url}?user_code=WDJB-MJHT"
        ends = {"verification_uri": url, "verification_uri_complete": complete, "expires_in": 600}
        return {"device_code": "dc-1", "user_code": "WDJB-MJHT", "interval": 1} | ends | self.device

    def _token(self, form: dict[str, str]) -> dict[str, Any]:
        if form.get("device_code") != "dc-1":
            return {"error": "invalid_grant"}
        if self.answers:
            return self.answers.pop(0)
        if not self.confirmed:
            return {"error": "authorization_pending"}
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token()}


def unsigned(claims: Mapping[str, Any]) -> str:
    """A token with algorithm "none"."""
    parts = [json.dumps(each).encode() for each in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


@asynccontextmanager
async def open_issuer() -> AsyncIterator[FakeIssuer]:
    """Serves one on a port of loopback."""
    issuer = FakeIssuer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()


@contextmanager
def issuer_in_thread() -> Iterator[FakeIssuer]:
    """The same for tests that block."""
    loop, served = asyncio.new_event_loop(), open_issuer()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
