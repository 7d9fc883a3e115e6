"""States as a glyph, a word and a colour; the word alone says it, too."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Tone(StrEnum):
    """What a state means for a person; each has one colour."""

    GOOD = "good"
    BUSY = "busy"
    """It is on its way."""
    BAD = "bad"
    IDLE = "idle"


class Look(NamedTuple):
    """How a state is shown; `plain` is the glyph of terminals without Unicode, and of accessible mode."""

    glyph: str
    plain: str
    tone: Tone


SGR: Final = {Tone.GOOD: "32", Tone.BUSY: "33", Tone.BAD: "31", Tone.IDLE: "2"}
"""Parameters of the escape sequence that sets a tone's colour, of the terminal's own sixteen."""
RGB: Final = {
    Tone.GOOD: "#7fb77e",
    Tone.BUSY: "#d9b36c",
    Tone.BAD: "#e0707a",
    Tone.IDLE: "#7c8699",
}
"""The same on terminals that show any colour."""

_GOOD: Final = Look("●", "*", Tone.GOOD)
_COMING: Final = Look("◔", "+", Tone.BUSY)
_GOING: Final = Look("◕", "-", Tone.BUSY)
_BROKEN: Final = Look("✗", "x", Tone.BAD)
_LOOKS: Final = {
    "RUNNING": _GOOD,
    "ONLINE": _GOOD,
    "UP": _GOOD,
    "OK": _GOOD,
    "PENDING": Look("◌", ".", Tone.BUSY),
    "PREPARING": _COMING,
    "STARTING": _COMING,
    "STOPPING": _GOING,
    "SNAPSHOTTING": _GOING,
    "READY": _GOOD,
    "CREATING": _COMING,
    "DELETING": _GOING,
    "PAUSED": Look("◫", "=", Tone.IDLE),
    "STOPPED": Look("○", "o", Tone.IDLE),
    "DELETED": Look("✗", "x", Tone.IDLE),
    "FAILED": _BROKEN,
    "FAIL": _BROKEN,
    "UNREACHABLE": Look("?", "?", Tone.BAD),
    "OFFLINE": _BROKEN,
    "DOWN": _BROKEN,
    "REDUCED": Look("◐", "~", Tone.BUSY),
    "WARN": Look("◐", "~", Tone.BUSY),
    "UNKNOWN": Look("?", "?", Tone.IDLE),
}
_OTHER: Final = Look("◌", ".", Tone.BUSY)


def look(state: str) -> Look:
    """How a state of a session, runner, link or finding is shown."""
    return _LOOKS.get(state, _OTHER)
