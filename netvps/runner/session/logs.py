"""Serves logs of sessions: the container's, or after its removal the saved end of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

import structlog

from netvps.domain.pieces import pieces
from netvps.domain.runner.runner import LogRequest
from netvps.domain.session.exec import Stderr
from netvps.errors import Exhausted, NetvpsError, NotFound
from netvps.files import remove_parts, write_file
from netvps.runner.ports import Link
from netvps.runner.task.ports import TaskEngine

MAX_KEPT = 1 << 20
_TAIL_LINES = 20_000
_KEEP_SECONDS = 30.0
_MAX_STREAMS = 16
log = structlog.get_logger()


class _Reader(Protocol):
    """The signature of Engine.logs."""

    def __call__(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yields pieces of the container's log."""


class KeptLogs:
    """The last MiB of each removed container's log, in STATE/logs/UID.log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_parts(folder)

    async def save(self, session_uid: str, read: _Reader) -> None:
        """Saves the end of a container's log; only logs errors, as a log is not worth a failed stop."""
        kept: deque[bytes] = deque()
        size = 0
        try:
            async with asyncio.timeout(_KEEP_SECONDS):
                async for piece in read(session_uid, _TAIL_LINES, follow=False):
                    kept.append(piece)
                    size += len(piece)
                    while size - len(kept[0]) >= MAX_KEPT:
                        size -= len(kept.popleft())
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(self._path(session_uid), b"".join(kept)[-MAX_KEPT:])
        except (NetvpsError, OSError, TimeoutError) as error:
            log.warning("logs not kept", error=str(error))

    def read(self, session_uid: str, tail_lines: int, since: datetime | None = None) -> bytes:
        """Returns the last saved lines; none if the log ended before `since`. Raises NotFound."""
        path = self._path(session_uid)
        try:
            if since is not None and path.stat().st_mtime < since.timestamp():
                return b""
            lines = path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            raise NotFound("the session has no logs yet: it never ran on this runner") from None
        return b"".join(lines[-tail_lines:]) if tail_lines > 0 else b""

    def remove(self, session_uid: str) -> None:
        """Removes the saved log; idempotent."""
        self._path(session_uid).unlink(missing_ok=True)

    def _path(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.log"


async def log_pieces(request: LogRequest, kept: KeptLogs, read: _Reader) -> AsyncGenerator[bytes, None]:
    """Yields the requested log, from the container or from what was saved of it. Raises NotFound."""
    try:
        found = read(request.session_uid, request.tail_lines, follow=request.follow, since=request.since)
        async with aclosing(found) as whole:
            async for piece in whole:
                yield piece
    except NotFound:
        content = await asyncio.to_thread(kept.read, request.session_uid, request.tail_lines, request.since)
        for piece in pieces(content):
            yield piece


class LogStreams:
    """Sends the logs that users ask for."""

    def __init__(self, link: Link, kept: KeptLogs, read: _Reader, tasks: TaskEngine | None = None) -> None:
        """`tasks` None: no tasks run here."""
        self._link = link
        self._tasks = tasks
        self._kept = kept
        self._read = read
        self.count = 0
        """Number of open streams."""

    async def send(self, request: LogRequest) -> None:
        """Sends the requested log until it ends or its reader is gone."""
        try:
            async with aclosing(self._pieces(request)) as pieces:
                await self._link.send_logs(request.stream_id, pieces)
        except NetvpsError as error:
            log.info("logs not sent", id=request.session_uid or request.task_id, error=error.message)

    async def _pieces(self, request: LogRequest) -> AsyncGenerator[bytes | Stderr, None]:
        if self.count >= _MAX_STREAMS:
            raise Exhausted("too many log streams on this runner; try again in a minute")
        self.count += 1
        try:
            async with aclosing(self._read_pieces(request)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.count -= 1

    def _read_pieces(self, request: LogRequest) -> AsyncGenerator[bytes | Stderr, None]:
        if not request.task_id:
            return cast("AsyncGenerator[bytes | Stderr, None]", log_pieces(request, self._kept, self._read))
        if self._tasks is None:
            raise NotFound("no tasks run on this runner")
        return self._tasks.logs(request.task_id, request.tail_lines, follow=request.follow)
