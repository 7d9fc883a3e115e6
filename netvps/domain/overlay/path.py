"""The ways between runners as people see them: what was measured, and between which addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from itertools import permutations

from netvps.domain.overlay.health import Link
from netvps.domain.runner import Runner, RunnerState


class PathState(StrEnum):
    """How a path is from one side: the words of LinkState, and one more."""

    UP = "UP"
    REDUCED = "REDUCED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"
    """It was not measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Path:
    """The way from one runner to another and back, as the first of them measured it."""

    start: str
    """NAME of the runner that measured."""
    end: str
    """NAME of the other."""
    state: PathState
    rtt: float | None = None
    """Seconds; None: nothing came back."""
    mtu: int = 0
    """The largest packet of the overlay that came back, in bytes; 0 if none did."""
    expected_mtu: int = 0
    """The largest that should; 0 if one of the two has no overlay."""
    start_address: str = ""
    """Of the first towards the other; '' if it has none."""
    end_address: str = ""
    """Of the other, as the first reaches it; '' if it has none of that kind."""
    message: str = ""
    """What is wrong and what to do, for people."""


def measured(start: Runner, end: Runner, link: Link) -> Path:
    """The path of a link that `start` measured."""
    state = PathState(link.state)
    return Path(start.name, end.name, state, link.rtt, link.mtu, *_between(start, end), link.message)


def unknown(start: Runner, end: Runner, why: str) -> Path:
    """A path that was not measured."""
    return Path(start.name, end.name, PathState.UNKNOWN, None, 0, *_between(start, end), why)


def why_unable(runner: Runner) -> str:
    """Why there is no use in asking a runner; '' if there may be."""
    if runner.underlay is None:
        return f"{runner.name} has no overlay: {reason_without(runner)}"
    return f"{runner.name} is offline" if runner.state is RunnerState.OFFLINE else ""


def reason_without(runner: Runner) -> str:
    """Why a runner has no overlay, in its own words."""
    told = "; ".join(problem.message for problem in runner.problems if not problem.peer)
    return told or "it tells no reason; look whether it was started with overlay = false, and at its log"


def pairs(runners: Sequence[Runner], centre: Runner | None = None) -> Iterator[tuple[Runner, Runner]]:
    """All ordered pairs of runners; with `centre` those that it is one of. A gateway is not asked to measure."""
    return (
        pair for pair in permutations(runners, 2) if (centre is None or centre in pair) and not pair[0].gateway_only
    )


def rtt_words(seconds: float | None) -> str:
    """A round trip for people, with two digits; '' if nothing came back."""
    if seconds is None:
        return ""
    milliseconds = seconds * 1000
    return f"{milliseconds:.2g} ms" if milliseconds < 99.5 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 — two digits


def _between(start: Runner, end: Runner) -> tuple[int, str, str]:
    """Expected MTU, and the addresses of both ends: the first one's best, and the other's best of that kind."""
    here, there = start.underlay, end.underlay
    if here is None or there is None:
        return 0, here.addresses[0] if here else "", there.addresses[0] if there else ""
    local = here.addresses[0]
    version = ip_address(local).version
    remote = next((address for address in there.addresses if ip_address(address).version == version), "")
    return min(here.mtu, there.mtu), local, remote
