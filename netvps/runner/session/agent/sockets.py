"""Relays a session's Unix socket, where its agent connects, to the control plane's tunnel port.

TLS is end to end, so the runner cannot read it, and a session needs no route to the control plane and no network. The
tunnel port serves agents with certificates only; the API is on another port, which no such socket reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Self

import structlog

from netvps.relay import abort, relay
from netvps.runner.session.agent.upstream import Upstream
from netvps.tasks import Tasks

MAX_CONNECTIONS = 512
log = structlog.get_logger()


class Relay:
    """A Unix socket and the TCP port behind it; an async context manager that serves while open."""

    def __init__(self, path: Path, upstream: Upstream, *, limit: int = MAX_CONNECTIONS) -> None:
        self._path = path
        self._upstream = upstream
        self._limit = limit
        self._open = 0
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._path.unlink(missing_ok=True)  # left by an earlier runner
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        # No chmod: it follows links, and root in the session may create one here at any time.
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server:
            server.close()
        await self._tasks.__aexit__()
        with contextlib.suppress(OSError):  # root in an earlier version's session may have replaced it by a folder
            self._path.unlink()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted while it was being closed
            writer.transport.abort()
            return
        if self._open >= self._limit:
            log.warning("a session has too many open connections", socket=str(self._path), limit=self._limit)
            writer.transport.abort()
            return
        self._open += 1
        task = self._tasks.start(self._serve(reader, writer), name=f"relay {self._path}")
        task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await self._upstream.connect()
        except (OSError, TimeoutError) as error:
            await abort(writer)
            log.debug("relay: cannot connect", address=self._upstream.address, error=str(error))
            return
        except asyncio.CancelledError:
            await abort(writer)
            raise
        await relay((reader, writer), upstream)
