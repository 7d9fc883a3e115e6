"""Paths between runners for people: measurements, with the addresses of both ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from itertools import permutations

from netvps.domain.overlay.diagnosis.health import Link
from netvps.domain.runner.runner import Runner, RunnerState


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
    """All ordered pairs of runners; with `centre`, those that include it. A server's own member does not measure."""
    return (
        pair for pair in permutations(runners, 2) if (centre is None or centre in pair) and not pair[0].gateway_only
    )


def rtt_words(seconds: float | None) -> str:
    """A round-trip time for people, with two digits; '' if there is none."""
    if seconds is None:
        return ""
    milliseconds = seconds * 1000
    return f"{milliseconds:.2g} ms" if milliseconds < 99.5 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 — two digits


def _between(start: Runner, end: Runner) -> tuple[int, str, str]:
    """The expected MTU, the preferred address of `start`, and the address of `end` in the same family."""
    here, there = start.underlay, end.underlay
    if here is None or there is None:
        return 0, here.addresses[0] if here else "", there.addresses[0] if there else ""
    local = here.addresses[0]
    version = ip_address(local).version
    remote = next((address for address in there.addresses if ip_address(address).version == version), "")
    return min(here.mtu, there.mtu), local, remote
