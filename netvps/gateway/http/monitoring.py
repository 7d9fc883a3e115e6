"""The HTTP endpoints of a program: liveness, readiness, health and metrics."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import structlog
from aiohttp import web

from netvps.domain.finding import Severity
from netvps.errors import ConfigError, NetvpsError, NotPermitted, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from netvps.domain.finding import Finding

log = structlog.get_logger()

CHECK_TIMEOUT = 2.0
_DETAILS_AT_ONCE: Final = 4
"""Requests for details that may wait for an answer at the same time: they may come from anyone."""


class Page(Protocol):
    """Content served at a path."""

    @property
    def content_type(self) -> str:
        """The Content-Type header."""

    async def content(self) -> bytes:
        """The current content. Raises NetvpsError if there is none."""


class Details(Protocol):
    """What a program tells its admins about its health."""

    async def authorize(self, api_key: str) -> None:
        """Raises Unauthenticated or NotPermitted if this is not the API key of an admin."""

    async def findings(self) -> Sequence[Finding]:
        """The result of each check."""


class HttpGateway:
    """Serves /livez, /healthz, /readyz, /health/details and /metrics. An async context manager.

    /livez and /healthz answer 200 while the event loop runs, and say nothing else. /readyz answers 503 with the reason
    before `serve` is called, after `stop` was called, and while a check fails; the checks run on each request, with a
    timeout of 2 s. /health/details is for API keys of admins (Authorization: Bearer).
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[bool]]] | None = None,
        *,
        host: str,
        port: int,
        metrics: Page | None = None,
    ) -> None:
        """Without checks it is not ready until `serve`."""
        self._checks = checks or {}
        self._not_ready = "" if checks is not None else "starting"
        self._metrics = metrics
        self._details: Details | None = None
        self._asking = 0
        self._host, self._port = host, port
        application = web.Application()
        application.router.add_get("/livez", self._alive)
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/health/details", self._detailed)
        application.router.add_get("/metrics", self._measured)
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._runner.addresses[0][1]
        return port

    def wait_for(self, what: str) -> None:
        """Says what the start of the program waits for."""
        self._not_ready = f"waiting for {what}"

    def serve(self, checks: Mapping[str, Callable[[], Awaitable[bool]]], metrics: Page, details: Details) -> None:
        """The program serves from now on, while these checks hold."""
        self._checks, self._metrics, self._details, self._not_ready = checks, metrics, details, ""

    def stop(self) -> None:
        """The program ends: it is not ready any more, so that proxies send new clients elsewhere."""
        self._not_ready = "stopping"

    async def __aenter__(self) -> Self:
        """Listens. Raises ConfigError with the address if it cannot."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            why = "address in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ConfigError(
                f"cannot listen for HTTP on {self._host}:{self._port}: {why}; choose another port"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._not_ready:
            return web.Response(status=503, text=f"not ready: {self._not_ready}\n")
        holds = await asyncio.gather(*(_check(name, check) for name, check in self._checks.items()))
        failed = [name for name, held in zip(self._checks, holds, strict=True) if not held]
        if failed:
            return web.Response(status=503, text=f"not ready: {', '.join(failed)}\n")
        return web.Response(text="ready\n")

    async def _detailed(self, request: web.Request) -> web.Response:
        if self._details is None:
            return web.Response(status=503, text=f"no details: {self._not_ready or 'this program has none'}\n")
        if self._asking >= _DETAILS_AT_ONCE:
            return web.Response(status=429, text="too many requests for details at once: ask again\n")
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        self._asking += 1
        try:
            async with asyncio.timeout(2 * CHECK_TIMEOUT):
                await self._details.authorize(key.strip() if kind.lower() == "bearer" else "")
                found = await self._details.findings()
        except Unauthenticated:
            text = "give the API key of an admin: Authorization: Bearer nv_…\n"
            return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
        except NotPermitted as error:
            return web.Response(status=403, text=f"{error}\n")
        except (NetvpsError, TimeoutError) as error:
            return web.Response(status=503, text=f"no details: {str(error) or 'the database does not answer'}\n")
        finally:
            self._asking -= 1
        return _findings(found)

    async def _measured(self, _request: web.Request) -> web.Response:
        if self._metrics is None:
            raise web.HTTPNotFound
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                content = await self._metrics.content()
        except (NetvpsError, TimeoutError) as error:
            return web.Response(status=503, text=f"no metrics: {str(error) or 'the store does not answer'}\n")
        return web.Response(body=content, headers={"Content-Type": self._metrics.content_type})


def _findings(found: Sequence[Finding]) -> web.Response:
    """All findings as JSON, with the worst severity; 503 if one of them is FAIL."""
    order = list(Severity)
    worst = min((finding.severity for finding in found), key=order.index, default=Severity.OK)
    checks: list[dict[str, Any]] = [
        {"check": one.subject, "severity": one.severity.value, "text": one.text, "remedy": one.remedy} for one in found
    ]
    status = 503 if worst is Severity.FAIL else 200
    return web.json_response({"severity": worst.value, "checks": checks}, status=status)


async def _check(name: str, check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check()
    except Exception as error:  # noqa: BLE001 — any failure means not ready
        log.warning("readiness check failed", check=name, error=str(error))
        return False
