"""Paths between runners for people: measurements, with the addresses of both ends, and the findings that follow.

Both directions of a pair make one finding, because each shows what the other cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from itertools import permutations
from typing import Final

from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.peer_health import Link
from netvps.domain.overlay.settings import overhead
from netvps.domain.runner.runner import Runner, RunnerState

_LISTED: Final = 6
"""Maximum number of paths listed one by one; of more, only their number is given."""


class PathState(StrEnum):
    """State of a path as measured from one side: the values of LinkState, and UNKNOWN."""

    UP = "UP"
    REDUCED = "REDUCED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"
    """Not measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Path:
    """The path from one runner to another and back, as measured by the first."""

    start: str
    """NAME of the runner that measured."""
    end: str
    """NAME of the other runner."""
    state: PathState
    rtt: float | None = None
    """Seconds; None if no packet was returned."""
    mtu: int = 0
    """The largest overlay packet that was returned, in bytes; 0 if none was."""
    expected_mtu: int = 0
    """The largest packet that should be returned; 0 if one of the two has no overlay."""
    start_address: str = ""
    """Underlay address of the first runner towards the other; '' if it has none."""
    end_address: str = ""
    """Underlay address of the other, in the family that the first uses; '' if it has none."""
    message: str = ""
    """What is wrong and what to do, for people."""


def measured(start: Runner, end: Runner, link: Link) -> Path:
    """The path for a link that `start` measured."""
    state = PathState(link.state)
    return Path(start.name, end.name, state, link.rtt, link.mtu, *_between(start, end), link.message)


def unknown(start: Runner, end: Runner, why: str) -> Path:
    """A path that was not measured."""
    return Path(start.name, end.name, PathState.UNKNOWN, None, 0, *_between(start, end), why)


def why_unable(runner: Runner) -> str:
    """Why a runner cannot measure links; '' if it may be able to."""
    if runner.underlay is None:
        return f"{runner.name} has no overlay: {reason_without(runner)}"
    return f"{runner.name} is offline" if runner.state is RunnerState.OFFLINE else ""


def reason_without(runner: Runner) -> str:
    """Why a runner has no overlay, as it reports."""
    reported = "; ".join(problem.message for problem in runner.problems if not problem.peer)
    return reported or "it reports no reason; check its log, and whether it was started with overlay = false"


def pairs(runners: Sequence[Runner], centre: Runner | None = None) -> Iterator[tuple[Runner, Runner]]:
    """All ordered pairs of runners; with `centre`, those that include it."""
    return (pair for pair in permutations(runners, 2) if centre is None or centre in pair)


def rtt_words(seconds: float | None) -> str:
    """A round-trip time for people, with two digits; '' if there is none."""
    if seconds is None:
        return ""
    milliseconds = seconds * 1000
    return f"{milliseconds:.2g} ms" if milliseconds < 99.5 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 — two digits


def path_findings(paths: Sequence[Path], port: int, away: frozenset[str]) -> Iterator[Finding]:
    """Findings about unhealthy paths; `port` is the overlay's, `away` names runners known to be unavailable."""
    by_ends = {(path.start, path.end): path for path in paths}
    for ends in sorted({(min(pair), max(pair)) for pair in by_ends}):
        there, back = by_ends.get(ends), by_ends.get((ends[1], ends[0]))
        if finding := _of_pair(tuple(path for path in (there, back) if path), port, away):
            yield finding
    yield from _unmeasured(paths, away)


def healthy_links(paths: Sequence[Path]) -> Iterator[Finding]:
    """One finding about all healthy paths, if there are any."""
    up = sorted((path for path in paths if path.state is PathState.UP), key=lambda path: (path.start, path.end))
    if not up:
        return
    listed = "; ".join(f"{path.start} to {path.end} {rtt_words(path.rtt)}, {path.mtu} bytes" for path in up)
    yield Finding(Severity.OK, "links", listed if len(up) <= _LISTED else f"{len(up)} of {len(paths)} are up")


def unhealthy_pairs(paths: Sequence[Path]) -> set[frozenset[str]]:
    """The pairs (of names) that have a finding of `path_findings` from a measurement."""
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
    added = overhead(path.start_address)
    return Finding(
        Severity.WARN,
        _subject(path),
        f"packets of more than {path.mtu} bytes get lost between {path.start} ({path.start_address}) and {path.end}"
        f" ({path.end_address}), which should take {path.expected_mtu}",
        f"let UDP port {port} through in packets of {path.expected_mtu + added} bytes, or set the MTU of the"
        f" interfaces towards each other to {path.mtu + added} (ip link set dev … mtu)",
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


def _between(start: Runner, end: Runner) -> tuple[int, str, str]:
    """The expected MTU, the preferred address of `start`, and the address of `end` in the same family."""
    here, there = start.underlay, end.underlay
    if here is None or there is None:
        return 0, here.addresses[0] if here else "", there.addresses[0] if there else ""
    local = here.addresses[0]
    version = ip_address(local).version
    remote = next((address for address in there.addresses if ip_address(address).version == version), "")
    return min(here.mtu, there.mtu), local, remote
