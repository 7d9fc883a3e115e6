"""Diagnoses measured paths. Both directions of a pair are combined, because each shows what the other cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from netvps.domain.overlay.diagnosis.finding import Finding, Severity
from netvps.domain.overlay.diagnosis.path import Path, PathState, rtt_words
from netvps.domain.overlay.fabric import VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6

_LISTED: Final = 6
"""Maximum number of paths listed one by one; of more, only their number is given."""
_IPV4: Final = 4


def judge(paths: Sequence[Path], port: int, away: frozenset[str]) -> Iterator[Finding]:
    """Findings about unhealthy paths; `port` is the overlay's, `away` names runners known to be unavailable."""
    by_ends = {(path.start, path.end): path for path in paths}
    for ends in sorted({(min(pair), max(pair)) for pair in by_ends}):
        there, back = by_ends.get(ends), by_ends.get((ends[1], ends[0]))
        if finding := _of_pair(tuple(path for path in (there, back) if path), port, away):
            yield finding
    yield from _unmeasured(paths, away)


def well(paths: Sequence[Path]) -> Iterator[Finding]:
    """One finding about all healthy paths, if there are any."""
    up = sorted((path for path in paths if path.state is PathState.UP), key=lambda path: (path.start, path.end))
    if not up:
        return
    listed = "; ".join(f"{path.start} to {path.end} {rtt_words(path.rtt)}, {path.mtu} bytes" for path in up)
    yield Finding(Severity.OK, "links", listed if len(up) <= _LISTED else f"{len(up)} of {len(paths)} are up")


def at_fault(paths: Sequence[Path]) -> set[frozenset[str]]:
    """The pairs (of names) that have a finding of `judge` from a measurement."""
    return {frozenset((path.start, path.end)) for path in paths if path.state in {PathState.DOWN, PathState.REDUCED}}


def _of_pair(paths: tuple[Path, ...], port: int, away: frozenset[str]) -> Finding | None:
    """The finding about a pair; `paths` are one or both of its directions."""
    apart = [path for path in paths if path.expected_mtu and not path.end_address]
    if apart:
        return _no_common_address(apart[0])
    down = [path for path in paths if path.state is PathState.DOWN and path.end not in away]
    if down:
        return _down(down[0], paths, len(down) > 1, port)
    reduced = [path for path in paths if path.state is PathState.REDUCED]
    return _reduced(min(reduced, key=lambda path: path.mtu), port) if reduced else None


def _down(path: Path, paths: tuple[Path, ...], both: bool, port: int) -> Finding:
    here, there = f"{path.start} ({path.start_address})", f"{path.end} ({path.end_address})"
    everywhere = f"let UDP port {port} through in both directions: in the firewalls of both machines, and between them"
    answered = any(other.state in {PathState.UP, PathState.REDUCED} for other in paths)
    if both:
        text, remedy = f"{here} and {there} get no answer from each other", everywhere
    elif answered:
        text = f"{here} gets no answer from {there}, which does get answers from there"
        remedy = f"let UDP port {port} from {path.start_address} in, in the firewall of {path.end} and before it"
    else:
        text, remedy = f"{here} gets no answer from {there}", everywhere
    return Finding(Severity.FAIL, _subject(path), text, f"{remedy}; check also that both machines respond")


def _reduced(path: Path, port: int) -> Finding:
    overhead = VXLAN_OVERHEAD_IPV4 if ip_address(path.start_address).version == _IPV4 else VXLAN_OVERHEAD_IPV6
    return Finding(
        Severity.WARN,
        _subject(path),
        f"packets of more than {path.mtu} bytes get lost between {path.start} ({path.start_address}) and {path.end}"
        f" ({path.end_address}), which should take {path.expected_mtu}",
        f"let UDP port {port} through in packets of {path.expected_mtu + overhead} bytes, or set the MTU of the"
        f" interfaces towards each other to {path.mtu + overhead} (ip link set dev … mtu)",
    )


def _no_common_address(path: Path) -> Finding:
    return Finding(
        Severity.FAIL,
        _subject(path),
        f"{path.end} has no address of the kind that {path.start} uses towards the others ({path.start_address})",
        "set underlay on both runners to addresses that are both IPv4, or both IPv6",
    )


def _unmeasured(paths: Sequence[Path], away: frozenset[str]) -> Iterator[Finding]:
    """One finding per runner and reason."""
    reasons = {(path.start, path.message): path for path in paths if path.state is PathState.UNKNOWN}
    for (start, message), path in sorted(reasons.items()):
        if start not in away and path.end_address:
            yield Finding(Severity.WARN, f"runner {start}", f"its links were not measured: {message}", "try again")


def _subject(path: Path) -> str:
    return " - ".join(sorted((path.start, path.end)))
