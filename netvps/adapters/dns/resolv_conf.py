"""Reads the machine's own resolvers from resolv.conf(5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Final

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_AT_MOST = 3  # as in the C library
_NONE_GIVEN = ("127.0.0.1",)
_LOOK_EVERY = 1.0
_LARGEST = 64 * 1024


class ResolvConf:
    """The resolvers of a file; re-reads it when it changes."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._servers: tuple[str, ...] = _NONE_GIVEN
        self._next_look = 0.0

    async def servers(self, *, without: Collection[str]) -> tuple[str, ...]:
        """Returns the resolvers' addresses in order; `without` are this server's own, to avoid a loop."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            await asyncio.to_thread(self._look)
        return tuple(server for server in self._servers if server not in without)

    def _look(self) -> None:
        """Re-reads the file; keeps the last content while it is missing or being replaced."""
        try:
            status = self._path.stat()
            now = (status.st_ino, status.st_mtime_ns, status.st_size)
            if now == self._seen:
                return
            with self._path.open("rb") as file:
                text = file.read(_LARGEST).decode("utf-8", "replace")
        except OSError:
            return
        self._seen, self._servers = now, parse(text)


def parse(text: str) -> tuple[str, ...]:
    """Returns the addresses of the name servers; 127.0.0.1 if none is given."""
    words = [line.split() for line in text.splitlines()]
    named = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and _is_address(line[1])]
    return tuple(dict.fromkeys(named))[:_AT_MOST] or _NONE_GIVEN


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
