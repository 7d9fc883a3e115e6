"""Health of the links to other runners as measured, and its effect on the kernel state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_PROBLEMS: Final = 16
"""Maximum number of problems in a report; further ones are left out."""
MAX_PROBED: Final = 256
"""Maximum number of links in one request."""


class LinkState(StrEnum):
    """State of a link as measured from one side."""

    UP = "UP"
    """Packets of all sizes are returned."""
    REDUCED = "REDUCED"
    """Small packets are returned, the largest expected ones are not."""
    DOWN = "DOWN"
    """No packet is returned."""


@dataclass(frozen=True, slots=True)
class Link:
    """A runner's measurement of its link to another."""

    peer: str
    """Uid of the runner at the other end."""
    state: LinkState
    rtt: float | None = None
    """Seconds; None if no packet was returned."""
    mtu: int = 0
    """The largest overlay packet that was returned, in bytes; 0 if none was."""
    message: str = ""
    """What is wrong and what to do, for people."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the overlay as one runner sees it."""

    message: str
    """What is wrong and what to do, for people."""
    peer: str = ""
    """Uid of the other runner that it concerns, if any."""


@dataclass(frozen=True, slots=True)
class Health:
    """How measurements change the desired kernel state."""

    mtus: Mapping[str, int] = field(default_factory=dict)
    """The largest packet that reaches a peer, in bytes, by uid; only peers where it is less than expected."""
    checksum_offload: bool = True
    """Whether the checksums inside the tunnel may be offloaded to the network card."""


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Asks for a measurement of links, to be answered by a report with this id."""

    probe_id: str
    peers: tuple[str, ...]
    """Uids of runners, at most MAX_PROBED."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The answer to a ProbeRequest: one link for each requested runner that is on the overlay."""

    probe_id: str
    links: tuple[Link, ...]


class TcpOutcome(StrEnum):
    """Result of a TCP probe to a peer."""

    GOOD = "GOOD"
    """All data was echoed unchanged."""
    BROKEN = "BROKEN"
    """The connection opened, but data was lost or changed."""
    SILENT = "SILENT"
    """No answer."""
    ABSENT = "ABSENT"
    """Connection refused, so the probe has no result."""
