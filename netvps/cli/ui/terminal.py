"""What may be sent to this terminal: colour or not, animated or not."""

from __future__ import annotations

import os
import sys
from typing import IO, Final

from netvps.display.palette import SGR, look

_COLOURS: Final = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "green": "32"} | {
    str(k): v for k, v in SGR.items()
}


def moving() -> bool:
    """Whether progress may be redrawn in place on stderr."""
    return sys.stderr.isatty() and not os.environ.get("NETVPS_ACCESSIBLE") and os.environ.get("TERM") != "dumb"


def colourful(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal that wants colour (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("NETVPS_ACCESSIBLE") or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


def paint(text: str, colour: str, stream: IO[str]) -> str:
    """`text` in a colour, where `stream` takes one."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if colour and colourful(stream) else text


def state_colour(state: str) -> str:
    """The colour of a state's word, which stays the word without it."""
    return look(state).tone
