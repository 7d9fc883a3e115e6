"""A session's Unix socket: its agent connects there, and the runner copies bytes to the control plane's link and back.

The runner reads nothing of it: TLS is end to end. So a session needs no route to the control plane, and no network. The
link serves whoever has a certificate: what people and programs use is behind another port, to which no socket leads.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Self

import structlog

from netvps.tasks import Tasks

MAX_CONNECTIONS = 512
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 10.0
_FLUSH_SECONDS = 30.0
log = structlog.get_logger()


class Relay:
    """One Unix socket, and the TCP address behind it; an async context manager that serves while it is open."""

    def __init__(self, path: Path, address: str, *, limit: int = MAX_CONNECTIONS) -> None:
        self._path = path
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._limit = limit
        self._open = 0
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._path.unlink(missing_ok=True)  # left by a runner before us
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=_CHUNK)
        # No chmod: it follows links, and the session's root may put one here at any time.
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server:
            server.close()
        await self._tasks.__aexit__()
        with contextlib.suppress(OSError):  # the root of a session of before may have put a folder in its place
            self._path.unlink()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted while it was being closed
            writer.transport.abort()
            return
        if self._open >= self._limit:
            log.warning("too many connections of one session", socket=str(self._path), limit=self._limit)
            writer.transport.abort()
            return
        self._open += 1
        task = self._tasks.start(self._serve(reader, writer), name=f"relay {self._path}")
        task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                answers, upstream = await asyncio.open_connection(self._host or "localhost", self._port, limit=_CHUNK)
        except (OSError, TimeoutError) as error:
            await _abort(writer)
            log.debug("relay: not connected", address=f"{self._host}:{self._port}", error=str(error))
            return
        except asyncio.CancelledError:
            await _abort(writer)
            raise
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, upstream), name="relay up")
                both.create_task(_copy(answers, writer), name="relay down")
            async with asyncio.timeout(_FLUSH_SECONDS):
                await _close(writer)
                await _close(upstream)
        except* (OSError, TimeoutError):
            pass  # one side broke: the other learns of it below
        finally:
            await _abort(writer)
            await _abort(upstream)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copies to the end, then closes only that direction: the other may have much to say yet."""
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError, RuntimeError):
        sink.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Closes once all that was written is gone."""
    writer.close()
    await writer.wait_closed()


async def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes at once, whatever is left to be written. Closed already is no error."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
