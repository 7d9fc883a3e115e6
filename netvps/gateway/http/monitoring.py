"""The HTTP endpoints of a program: liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Protocol, Self

import structlog
from aiohttp import web

from netvps.errors import ConfigError, NetvpsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = structlog.get_logger()

CHECK_TIMEOUT = 2.0


class Page(Protocol):
    """Content served at a path."""

    @property
    def content_type(self) -> str:
        """The Content-Type header."""

    async def content(self) -> bytes:
        """The current content. Raises NetvpsError if there is none."""


class HttpGateway:
    """Serves /healthz (200 while the event loop runs), /readyz (503 with the failed checks), and /metrics.

    An async context manager. `checks` run on each request, with a timeout of 2 s.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[bool]]],
        *,
        host: str,
        port: int,
        metrics: Page | None = None,
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._host, self._port = host, port
        application = web.Application()
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._measured)
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._runner.addresses[0][1]
        return port

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
        holds = await asyncio.gather(*(_check(name, check) for name, check in self._checks.items()))
        failed = [name for name, held in zip(self._checks, holds, strict=True) if not held]
        if failed:
            return web.Response(status=503, text=f"not ready: {', '.join(failed)}\n")
        return web.Response(text="ready\n")

    async def _measured(self, _request: web.Request) -> web.Response:
        if self._metrics is None:
            raise web.HTTPNotFound
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                content = await self._metrics.content()
        except (NetvpsError, TimeoutError) as error:
            return web.Response(status=503, text=f"no metrics: {str(error) or 'the store does not answer'}\n")
        return web.Response(body=content, headers={"Content-Type": self._metrics.content_type})


async def _check(name: str, check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check()
    except Exception as error:  # noqa: BLE001 — any failure means not ready
        log.warning("readiness check failed", check=name, error=str(error))
        return False
