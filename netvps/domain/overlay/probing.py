"""How links are, from one examination to the next: a table that is told the time and what was measured.

A link that is well is looked at only when somebody doubts it; one that is not, again and again, less and less often.
Nothing here takes a route away: a way that seems lost may be one that only probes cannot take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from netvps.domain.overlay.fabric import VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6, endpoint_address
from netvps.domain.overlay.health import Link, LinkState, Problem
from netvps.domain.overlay.netmap import Peer
from netvps.domain.overlay.view import View

FIRST_PAUSE: Final = 3.0
LONGEST_PAUSE: Final = {LinkState.REDUCED: 600.0, LinkState.DOWN: 120.0}
"""Seconds between two examinations of a link that is not well."""
SILENT_SECONDS: Final = 120.0
"""For so long, a machine that does not answer at all is taken for one that is just being started again."""
BLOCKED_TIMES: Final = 2
"""Examinations that find a machine that answers, but not on the overlay: it may not be there yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """The other end of a link."""

    peer: str
    """Uid of the runner."""
    name: str
    address: str
    """Of its tunnel endpoint."""
    mtu: int
    """The largest packet of the overlay that should get there and back, in bytes."""
    here: str
    there: str
    """Addresses of both on the underlay."""
    own: str
    """Name of the runner at this end."""
    port: int
    """The overlay's (UDP)."""

    @property
    def overhead(self) -> int:
        """Bytes that a packet grows by on the underlay."""
        return VXLAN_OVERHEAD_IPV6 if ":" in self.there else VXLAN_OVERHEAD_IPV4


@dataclass(frozen=True, slots=True)
class Measured:
    """What an examination found."""

    rtt: float | None
    """Seconds; None: nothing came back through the tunnel."""
    mtu: int
    """The largest packet that came back, in bytes; 0: none."""
    alive: bool = True
    """Whether the machine answers outside of the tunnel."""

    def state(self, target: Target) -> LinkState:
        """Of the link."""
        if self.rtt is None:
            return LinkState.DOWN
        return LinkState.UP if self.mtu >= target.mtu else LinkState.REDUCED


@dataclass(frozen=True, slots=True)
class _Track:
    target: Target
    due: float
    """When to examine it next; inf: when somebody doubts it."""
    found: Measured | None = None
    mtu: int = 0
    """The largest packet that came back, where that was not of full size, also while nothing does; else 0."""
    since: float = 0.0
    """When its state began."""
    failures: int = 0
    """Examinations in a row that found it like this, and not well."""

    @property
    def state(self) -> LinkState | None:
        return self.found.state(self.target) if self.found else None


class LinkTable:
    """Of one runner. Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._earlier: dict[str, int] = {}
        self._tracks: dict[str, _Track] = {}

    def remember(self, mtus: Mapping[str, int]) -> None:
        """What was measured in an earlier life, by peer; it holds until it is measured again."""
        self._earlier = dict(mtus)

    def aim(self, target: Target, due: float) -> None:
        """A link that there shall be. If it is new, or leads elsewhere now, it is examined when `due`."""
        known = self._tracks.get(target.peer)
        if known is None or known.target != target:
            self._tracks[target.peer] = _Track(target, due, mtu=self._earlier.pop(target.peer, 0))

    def forget(self, peer: str) -> None:
        """There is no such link any more."""
        self._tracks.pop(peer, None)

    def doubt(self, peer: str, now: float) -> None:
        """It is examined soon, whatever is known of it."""
        if (track := self._tracks.get(peer)) and track.due > now:
            self._tracks[peer] = replace(track, due=now)

    def begin(self, now: float, most: int) -> list[Target]:
        """Those that are due, the longest due first; they are not due any more until `took`."""
        due = sorted((track for track in self._tracks.values() if track.due <= now), key=lambda track: track.due)
        for track in due[:most]:
            self._tracks[track.target.peer] = replace(track, due=inf)
        return [track.target for track in due[:most]]

    @property
    def next_due(self) -> float:
        """When something is due; inf for nothing."""
        return min((track.due for track in self._tracks.values()), default=inf)

    def took(self, target: Target, found: Measured, now: float, jitter: float = 1.0) -> bool:
        """What an examination found, unless the link leads elsewhere by now. Returns whether its state is another.

        What was never examined was taken for well.
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
        """Where its link leads."""
        track = self._tracks.get(peer)
        return track.target if track else None

    def known(self) -> Iterator[str]:
        """Peers that are taken for well."""
        return (peer for peer, track in self._tracks.items() if track.state is LinkState.UP)

    @property
    def mtus(self) -> dict[str, int]:
        """The largest packets that get through, by peer, where that is less than it should be."""
        return {peer: track.mtu for peer, track in self._tracks.items() if 0 < track.mtu < track.target.mtu}

    def problems(self, now: float) -> list[Problem]:
        """By the name of the peer; the same for as long as the same is wrong."""
        wrong = [track for track in self._tracks.values() if track.failures and _worth_telling(track, now)]
        wrong.sort(key=lambda track: track.target.name)
        return [Problem(why(track.target, track.found), track.target.peer) for track in wrong if track.found]


def link(target: Target, found: Measured) -> Link:
    """An examination's result, for whoever asked for it."""
    return Link(target.peer, found.state(target), found.rtt, found.mtu, why(target, found))


def why(target: Target, found: Measured) -> str:
    """What is wrong and what to do; '' if nothing is. The same for as long as the same is wrong."""
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


def target_of(view: View, peer: Peer, own: str) -> Target | None:
    """The link of the runner named `own` to a peer; None: it has no address of our kind on the underlay."""
    here = view.underlay.addresses[0]
    there = next((address for address in peer.underlay.addresses if (":" in address) == (":" in here)), None)
    if there is None:
        return None
    return Target(
        peer=peer.runner,
        name=peer.name,
        address=endpoint_address(peer.lease.cidr),
        mtu=min(view.underlay.mtu, peer.underlay.mtu),
        here=here,
        there=there,
        own=own,
        port=view.fabric.port,
    )


def _worth_telling(track: _Track, now: float) -> bool:
    if track.state is not LinkState.DOWN:
        return True
    answers = track.found is not None and track.found.alive
    return (answers and track.failures >= BLOCKED_TIMES) or now - track.since >= SILENT_SECONDS
