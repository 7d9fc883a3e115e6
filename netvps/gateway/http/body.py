"""Finds the end of a body in the bytes that pass, without changing them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.gateway.http.head import Framing

_LINE_MAX: Final = 4096
"""Maximum size of the line before a chunk."""
_TRAILERS_MAX: Final = 16 * 1024
_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;[^\r\n]*)?")


class BodyError(Exception):
    """Chunks that are malformed."""


class Body:
    """Counts the bytes of a body. Lines of chunks end with CR LF, and nothing else."""

    def __init__(self, framing: Framing) -> None:
        self._chunked = framing.chunked
        self._left = 0 if framing.chunked else framing.length
        """Bytes until the next line, or the end; None: until the connection ends."""
        self._line = b""
        self._in_trailers = False
        self._trailers = 0
        self._first = True
        self.done = self._left == 0 and not framing.chunked
        """Whether its last byte has passed."""

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection tells its end."""
        return self._left is None

    def take(self, data: bytes) -> int:
        """The number of bytes that belong to it, from the first on. Raises BodyError."""
        if self.done:
            return 0
        if not self._chunked:
            if self._left is None:
                return len(data)
            taken = min(self._left, len(data))
            self._left -= taken
            self.done = self._left == 0
            return taken
        return self._take_chunks(data)

    def _take_chunks(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            piece = data[at:] if end < 0 else data[at : end + 1]
            self._line += piece
            at += len(piece)
            if len(self._line) > _LINE_MAX:
                raise BodyError("the line before a chunk is too long")
            if end >= 0:
                line, self._line = self._line, b""
                self._end_line(line)
        return at

    def _end_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise BodyError("the lines of chunks end with CR LF")
        text = line[:-2]
        if self._in_trailers:
            self._trailers += len(line)
            if self._trailers > _TRAILERS_MAX:
                raise BodyError("the trailers are too long")
            self.done = not text
        elif self._first:
            self._begin_chunk(text)
        elif text:
            raise BodyError("a chunk is longer than it says")
        else:
            self._first = True

    def _begin_chunk(self, text: bytes) -> None:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise BodyError("a chunk does not begin with its size")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0
        self._first = False
