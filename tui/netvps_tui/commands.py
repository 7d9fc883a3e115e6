"""The command line that does the same as an action."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.client import Session


def called(session: Session, me: str) -> str:
    """The name to type for a session: short for one's own."""
    return session.name if session.owner == me else str(session.full_name)


def command_line(*words: str) -> str:
    """`netvps` with these words, quoted as a shell needs it."""
    return shlex.join(["netvps", *words])


def names_of(sessions: Sequence[Session], me: str) -> list[str]:
    """The names to type for sessions."""
    return [called(session, me) for session in sessions]
