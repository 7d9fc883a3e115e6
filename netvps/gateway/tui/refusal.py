"""A channel that only says why it is of no use, in words that any client shows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from asyncssh import SSHServerSession

if TYPE_CHECKING:
    from asyncssh import SSHServerChannel

REFUSED: Final = 2
"""Exit code for whatever is not the terminal UI, as for wrong usage of a command."""


class Refusal(SSHServerSession[bytes]):
    """Accepts whatever is asked for, and ends it with a reason on its stderr."""

    def __init__(self, channel: SSHServerChannel[bytes], reason: str) -> None:
        self._channel, self._reason = channel, reason

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:
        """Accepted, so that it can be refused with words."""
        return True

    def shell_requested(self) -> bool:
        """Accepted, likewise."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Accepted, likewise."""
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Accepted, likewise."""
        return True

    def session_started(self) -> None:
        """Says why not."""
        refuse(self._channel, self._reason)


def refuse(channel: SSHServerChannel[bytes], reason: str) -> None:
    """Ends a channel with a reason."""
    with suppress(OSError):
        channel.write_stderr(f"netvps: {reason}\n".encode())
        channel.exit(REFUSED)


def no_session(user_name: str) -> str:
    """What the login name means, where it names no session."""
    return f"you have no session {user_name}"
