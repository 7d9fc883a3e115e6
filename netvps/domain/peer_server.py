"""Another server of the same database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class PeerServer:
    """A server's process, and where the other servers reach it."""

    uid: str
    address: str
    """HOST:PORT of its link."""
