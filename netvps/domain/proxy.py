"""What `netvps ssh-proxy` and the gateway's SSH port say to each other.

The client sends GREETING, a ticket and a line feed. After its SSH version, each line of the gateway's answer is ANSWER,
one of the words below, and a text. After OPEN, all bytes belong to the session's agent (resumable.py). Nothing here is
secret once it is used: the ticket counts once, and what follows is SSH's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

GREETING: Final = b"NETVPS-TICKET "
ANSWER: Final = b"NETVPS-PROXY "
MAX_LINE: Final = 1024
"""Maximum length of a line in bytes."""


class Word(StrEnum):
    """What a line says."""

    WAIT = "wait"
    """The session is being woken; the text is the progress."""
    REFUSED = "refused"
    """The connection ends; the text says why."""
    LATER = "later"
    """The same, and another try may succeed."""
    OPEN = "open"
    """The session's agent has the connection."""


def line(word: Word, text: str = "") -> bytes:
    """A line of the gateway. The text is made printable, and cut."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return ANSWER + f"{word} {shown}".encode()[: MAX_LINE - len(ANSWER) - 1] + b"\n"


def parse(text: bytes) -> tuple[Word, str] | None:
    """A line without its line feed; None for one that is no answer. Text that is not printable is replaced."""
    if not text.startswith(ANSWER):
        return None
    word, _, rest = text.removeprefix(ANSWER).decode(errors="replace").rstrip("\r").partition(" ")
    if word not in set(Word):
        return None
    return Word(word), "".join(character if character.isprintable() else " " for character in rest)
