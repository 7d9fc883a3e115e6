"""How the ways to the other runners are, by what was measured, and what follows from that for the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_PROBLEMS: Final = 16
"""That a runner tells of at once; of more, the first ones."""
MAX_PROBED: Final = 256
"""Links in one request."""


class LinkState(StrEnum):
    """How a link is from one side."""

    UP = "UP"
    """Packets of all sizes come back."""
    REDUCED = "REDUCED"
    """Small packets come back, the largest that should fit do not."""
    DOWN = "DOWN"
    """Nothing comes back."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a runner measured of its way to another."""

    peer: str
    """Uid of the runner at its other end."""
    state: LinkState
    rtt: float | None = None
    """Seconds; None: nothing came back."""
    mtu: int = 0
    """The largest packet of the overlay that came back, in bytes; 0 if none did."""
    message: str = ""
    """What is wrong and what to do, for people."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with the overlay as one runner sees it."""

    message: str
    """What is wrong and what to do, for people."""
    peer: str = ""
    """Uid of the other runner that it concerns, if there is one."""


@dataclass(frozen=True, slots=True)
class Health:
    """What measurements change of what shall be in the kernel."""

    mtus: Mapping[str, int] = field(default_factory=dict)
    """The largest packet that gets through, by uid of the peer, where that is less than it should be; in bytes."""
    checksum_offload: bool = True
    """Whether the machine may leave checksums within the tunnel to its network card."""


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Somebody wants to know how links are; answer with a report of this id."""

    probe_id: str
    peers: tuple[str, ...]
    """Uids of runners, at most MAX_PROBED."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The answer: a link for each of those asked for that is on the overlay."""

    probe_id: str
    links: tuple[Link, ...]


class TcpOutcome(StrEnum):
    """What came of real TCP to a peer."""

    GOOD = "GOOD"
    """All came back as it was."""
    BROKEN = "BROKEN"
    """It began, and did not come through, or came back as something else."""
    SILENT = "SILENT"
    """No answer at all."""
    ABSENT = "ABSENT"
    """Nobody listens there (now): it says nothing."""
