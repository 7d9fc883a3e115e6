"""Snapshots to read, without archives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from netvps.domain.snapshot.browse import Entry
from netvps.domain.snapshot.exchange import BrowsedSnapshot
from netvps.runner.browse.root import Root
from netvps.runner.browse.sftp import SftpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.errors import NetvpsError


class OneFile:
    """A snapshot with one file, "file"."""

    def __init__(self, content: bytes = b"abc") -> None:
        self._content = content

    def entry(self, path: str) -> Entry:
        if path:
            return Entry("file", 0o100644, size=len(self._content))
        return Entry("", 0o040755)

    def entries(self, path: str) -> list[Entry]:
        return [self.entry("file")]

    def read(self, path: str, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]

    def close(self) -> None:
        pass


def root_with(content: bytes = b"abc") -> Root:
    """The snapshot "before", which has that file."""

    async def browse(_: str) -> OneFile:
        return OneFile(content)

    return Root([BrowsedSnapshot("one", "before", 0)], browse)


class Snapshots:
    """Shows that snapshot to whoever asks, or fails."""

    def __init__(self, content: bytes = b"abc", error: NetvpsError | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.open = 0
        self._content, self._error = content, error

    @asynccontextmanager
    async def browse(
        self, user: str, session: str, incoming: AsyncIterator[bytes]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append((user, session))
        if self._error is not None:
            raise self._error
        self.open += 1
        try:
            yield SftpServer(root_with(self._content)).serve(incoming)
        finally:
            self.open -= 1
