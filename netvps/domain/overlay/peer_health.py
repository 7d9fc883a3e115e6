"""Health of the links to other runners: what is measured, its state over time, and its effect on the kernel state.

A healthy link is measured only when it is in doubt; an unhealthy one again and again with backoff. The table never
removes a route: a link that seems down may be one on which only probes are lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import Final

from netvps.domain.overlay.settings import overhead

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


FIRST_PAUSE: Final = 3.0
LONGEST_PAUSE: Final = {LinkState.REDUCED: 600.0, LinkState.DOWN: 120.0}
"""Maximum seconds between two measurements of an unhealthy link."""
SILENT_SECONDS: Final = 120.0
"""Seconds during which a machine that does not answer at all is assumed to be rebooting."""
BLOCKED_TIMES: Final = 2
"""Consecutive measurements in which the machine answers, but not on the overlay, before that is reported as blocked:
its overlay may just not be up yet.
"""


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


@dataclass(frozen=True, slots=True)
class Target:
    """The other end of a link."""

    peer: str
    """Uid of the runner."""
    name: str
    address: str
    """Address of its tunnel endpoint."""
    mtu: int
    """The largest overlay packet that should pass in both directions, in bytes."""
    here: str
    there: str
    """Underlay addresses of both ends."""
    own: str
    """Name of the local runner."""
    port: int
    """The overlay's UDP port."""

    @property
    def overhead(self) -> int:
        """Bytes that encapsulation adds to a packet."""
        return overhead(self.there)


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a measurement."""

    rtt: float | None
    """Seconds; None if no packet was returned through the tunnel."""
    mtu: int
    """The largest packet that was returned, in bytes; 0 if none was."""
    alive: bool = True
    """Whether the machine answers outside the tunnel."""

    def state(self, target: Target) -> LinkState:
        """The state of the link."""
        if self.rtt is None:
            return LinkState.DOWN
        return LinkState.UP if self.mtu >= target.mtu else LinkState.REDUCED


@dataclass(frozen=True, slots=True)
class _Track:
    target: Target
    due: float
    """Time of the next measurement; inf means only when in doubt."""
    found: Measured | None = None
    mtu: int = 0
    """The largest packet that was returned, if smaller than expected; kept while the link is down. Else 0."""
    since: float = 0.0
    """Time of the last change of state."""
    failures: int = 0
    """Consecutive measurements with the same unhealthy state."""

    @property
    def state(self) -> LinkState | None:
        return self.found.state(self.target) if self.found else None


class LinkTable:
    """The links of one runner. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._earlier: dict[str, int] = {}
        self._tracks: dict[str, _Track] = {}

    def remember(self, mtus: Mapping[str, int]) -> None:
        """Restores results of an earlier process, by peer; they hold until the next measurement."""
        self._earlier = dict(mtus)

    def aim(self, target: Target, due: float) -> None:
        """Adds or updates a link. A new link, or one with another target, is measured when `due`."""
        known = self._tracks.get(target.peer)
        if known is None or known.target != target:
            self._tracks[target.peer] = _Track(target, due, mtu=self._earlier.pop(target.peer, 0))

    def forget(self, peer: str) -> None:
        """Removes a link."""
        self._tracks.pop(peer, None)

    def doubt(self, peer: str, now: float) -> None:
        """Schedules a measurement now."""
        if (track := self._tracks.get(peer)) and track.due > now:
            self._tracks[peer] = replace(track, due=now)

    def begin(self, now: float, most: int) -> list[Target]:
        """Returns the links that are due, the longest overdue first, and unschedules them until `took` is called."""
        due = sorted((track for track in self._tracks.values() if track.due <= now), key=lambda track: track.due)
        for track in due[:most]:
            self._tracks[track.target.peer] = replace(track, due=inf)
        return [track.target for track in due[:most]]

    @property
    def next_due(self) -> float:
        """The time of the next measurement; inf if there is none."""
        return min((track.due for track in self._tracks.values()), default=inf)

    def record(self, target: Target, found: Measured, now: float, jitter: float = 1.0) -> bool:
        """Records a measurement, unless the target has changed since. Returns whether the state changed.

        A link without a measurement counts as healthy.
        """
        track = self._tracks.get(target.peer)
        if track is None or track.target != target:
            return False
        state, before = found.state(target), track.state or (LinkState.REDUCED if track.mtu else LinkState.UP)
        failures = 0 if state is LinkState.UP else track.failures + 1 if state is before else 1
        pause = min(LONGEST_PAUSE.get(state, inf), FIRST_PAUSE * 2.0 ** min(failures - 1, 10)) * jitter
        self._tracks[target.peer] = _Track(
            target,
            due=now + pause if failures else inf,
            found=found,
            mtu={LinkState.UP: 0, LinkState.REDUCED: found.mtu, LinkState.DOWN: track.mtu}[state],
            since=track.since if before is state else now,
            failures=failures,
        )
        return before is not state

    def target(self, peer: str) -> Target | None:
        """The target of a peer's link."""
        track = self._tracks.get(peer)
        return track.target if track else None

    def known(self) -> Iterator[str]:
        """Peers with healthy links."""
        return (peer for peer, track in self._tracks.items() if track.state is LinkState.UP)

    @property
    def mtus(self) -> dict[str, int]:
        """The largest packets that reach a peer, by peer; only peers where they are smaller than expected."""
        return {peer: track.mtu for peer, track in self._tracks.items() if 0 < track.mtu < track.target.mtu}

    def problems(self, now: float) -> list[Problem]:
        """Problems sorted by the peer's name. The text is stable while the problem is the same."""
        wrong = [track for track in self._tracks.values() if track.failures and _worth_reporting(track, now)]
        wrong.sort(key=lambda track: track.target.name)
        return [Problem(why(track.target, track.found), track.target.peer) for track in wrong if track.found]


def link(target: Target, found: Measured) -> Link:
    """The result of a measurement for whoever requested it."""
    return Link(target.peer, found.state(target), found.rtt, found.mtu, why(target, found))


def why(target: Target, found: Measured) -> str:
    """What is wrong and what to do; '' if nothing is. The text is stable while the problem is the same."""
    here, there = f"{target.own} ({target.here})", f"{target.name} ({target.there})"
    match found.state(target):
        case LinkState.UP:
            return ""
        case LinkState.REDUCED:
            most, full = found.mtu + target.overhead, target.mtu + target.overhead
            return (
                f"between {here} and {there}, packets of more than {most} bytes are lost; the overlay goes on with"
                f" {found.mtu} of its {target.mtu} bytes: let UDP port {target.port} with packets of {full} bytes"
                f" through, or lower the MTU of both interfaces to {most}"
            )
    if found.alive:
        return (
            f"nothing of the overlay gets from {here} to {there} and back, though that machine answers a ping: let"
            f" UDP port {target.port} through in both directions, on both machines and between them"
        )
    return (
        f"{there} does not answer {here}, neither on the overlay nor a ping: see whether it is on and on the"
        f" network; if so, let UDP port {target.port} through between the two, in both directions"
    )


def _worth_reporting(track: _Track, now: float) -> bool:
    if track.state is not LinkState.DOWN:
        return True
    answers = track.found is not None and track.found.alive
    return (answers and track.failures >= BLOCKED_TIMES) or now - track.since >= SILENT_SECONDS
