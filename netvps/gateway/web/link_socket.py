"""How `netvps web --open` gets a link from a `netvps web` that runs: a Unix socket that only its account can open."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS: Final = 5.0
_LIMIT: Final = 4096
_REFUSED: Final = "!"


class LinkSocket:
    """Gives a new link to each connection. An async context manager; its end removes the socket."""

    def __init__(self, path: Path, link: Callable[[], str]) -> None:
        """`link` makes one; it raises Exhausted."""
        self._path, self._link = path, link
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)  # of one that was killed: whoever has the port has the socket
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._answer, str(self._path))
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101 — it listens
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = self._link()
        except Exhausted as error:
            line = f"{_REFUSED}{error.message}"
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                writer.write(f"{line}\n".encode())
                await writer.drain()
        writer.close()


async def ask_for_link(path: Path) -> str | None:
    """A link of the program at that socket; None if none runs there. Raises Exhausted."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=_LIMIT)
            try:
                line = (await reader.readline()).decode().strip()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    if line.startswith(_REFUSED):
        raise Exhausted(line.removeprefix(_REFUSED))
    return line or None
