"""The size of messages that carry data of a session: output of its commands, and logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_PIECE: Final = 64 * 1024
"""Maximum bytes of data in one message."""


def pieces(data: bytes) -> Iterator[bytes]:
    """Splits data for messages."""
    return (data[start : start + MAX_PIECE] for start in range(0, len(data), MAX_PIECE))
