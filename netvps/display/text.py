"""Text of others for a terminal: control codes of names and logs steer nothing."""

from __future__ import annotations

import codecs
import re
from typing import Final

_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_PARTIAL_SGR: Final = re.compile(r"\x1b(\[[0-9;:]{0,32})?\Z")
# All of C0 but tab, newline and carriage return, DEL, C1, and what turns the direction of writing.
_UNSAFE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """One printable line of any text: what a server, an image or another user wrote moves no cursor here."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).strip()


class LogFilter:
    """Text of a log for a terminal: its colours and lines pass, everything else that steers a terminal does not."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """The next piece; what may be half a colour waits for the piece after it."""
        text = self._held + self._decoder.decode(data, last)
        partial = None if last else _PARTIAL_SGR.search(text)
        self._held = partial.group() if partial else ""
        text = text[: len(text) - len(self._held)]
        kept: list[str] = []
        position = 0
        for colour in _SGR.finditer(text):
            kept += (_stripped(text[position : colour.start()]), colour.group())
            position = colour.end()
        kept.append(_stripped(text[position:]))
        return "".join(kept)


def _stripped(text: str) -> str:
    return _UNSAFE.sub("", text).replace("\x1b", "")
