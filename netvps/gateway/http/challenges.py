"""Serves what certbot leaves in its webroot, which proves to a certificate authority that a name leads here (ACME)."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from netvps.gateway.http.answers import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.gateway.http.head import RequestHead

PATH: Final = "/.well-known/acme-challenge/"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LIMIT: Final = 4096
"""Maximum size of a file in bytes."""


class Challenges:
    """Files of one folder, and nothing else: no folders in it, no links, no names that are no tokens."""

    def __init__(self, webroot: Path) -> None:
        self._folder = webroot / PATH.strip("/")

    def answer(self, head: RequestHead) -> Answer:
        """The file that a path below PATH names, or 404. Blocks."""
        token = head.path.removeprefix(PATH)
        content = self._read(token) if head.method in {"GET", "HEAD"} and _TOKEN.fullmatch(token) else None
        if content is None:
            return Answer(404, b"not found\n", (("Content-Type", "text/plain"),))
        return Answer(200, content, (("Content-Type", "text/plain"),))

    def _read(self, token: str) -> bytes | None:
        try:
            descriptor = os.open(self._folder / token, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return os.read(descriptor, _LIMIT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)
