"""Relays bytes between two connections."""

from __future__ import annotations

import asyncio
import contextlib

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_PIECE = 256 * 1024
_FLUSH_SECONDS = 30.0


async def relay(one: Connection, other: Connection) -> None:
    """Copies in both directions until both have ended or one fails. Both connections are closed when it returns.

    If it fails or is cancelled, data that was not written yet is dropped.
    """
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(one[0], other[1]), name="relay there")
            both.create_task(_copy(other[0], one[1]), name="relay back")
        async with asyncio.timeout(_FLUSH_SECONDS):
            await _close(one[1])
            await _close(other[1])
    except* (OSError, TimeoutError):
        pass  # one side failed; the other is aborted below
    finally:
        for _, writer in (one, other):
            writer.transport.abort()  # both before the first await, which may be cancelled
        await abort(one[1])
        await abort(other[1])


async def abort(writer: asyncio.StreamWriter) -> None:
    """Closes at once and drops unwritten data; idempotent."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copies until EOF, then half-closes the sink: the other direction may continue."""
    while data := await source.read(_PIECE):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError, RuntimeError):
        sink.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Closes after everything was written."""
    writer.close()
    await writer.wait_closed()
