"""The scheduler: chooses a runner for a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.spec import Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netvps.domain.runner.runner import Runner
    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import SessionSpec


_NAMED: Final = 3
"""Maximum number of runners named in a message."""


@dataclass(frozen=True, slots=True)
class Use:
    """Resources of a runner that are in use: the number of sessions to be RUNNING, and the sums of their claims."""

    sessions: int = 0
    cpu_claims: int = 0
    """In millicores."""
    memory_claims: int = 0
    """Bytes."""

    def with_session(self, session: Session) -> Use:
        """The use including one more session."""
        return Use(self.sessions + 1, self.cpu_claims + session.cpu_claim, self.memory_claims + session.memory_claim)


def joins_overlay(spec: SessionSpec, runner: Runner) -> bool:
    """Whether a session on this runner gets an overlay address."""
    return spec.network is not Network.NONE and runner.underlay is not None


def fits(spec: SessionSpec, runner: Runner) -> bool:
    """Whether the whole machine is large enough (Docker refuses more CPUs than the machine has; 0 is unknown).

    Also checks that the runner is on the overlay if the spec requires it.
    """
    if spec.network is Network.OVERLAY and runner.underlay is None:
        return False
    return not why_not_fits(spec, runner)


def why_not_fits(spec: SessionSpec, runner: Runner) -> str:
    """Why a session with these limits is larger than its machine, with figures; '' if it fits."""
    has = runner.capacity
    if has.cpus and spec.cpus > has.cpus:
        return f"{spec.cpus:g} CPUs are more than the {has.cpus} of its runner {runner.name}"
    if has.memory_bytes and spec.memory_bytes > has.memory_bytes:
        asked, there = _gib_words(spec.memory_bytes), _gib_words(has.memory_bytes)
        return f"{asked} of memory are more than the {there} of its runner {runner.name}"
    return ""


def choose(session: Session, runners: Iterable[Runner], uses: Mapping[str, Use]) -> Runner | None:
    """The online runner with the most room left after placing the session; None if no runner fits.

    Room is measured in CPU or memory, whichever is scarcer. The sum of all limits may exceed the machine, because
    sessions are idle most of the time. `uses` is keyed by the runner's uid; a missing entry means an empty runner.
    """

    def rank(runner: Runner) -> tuple[float, int, str]:
        use = uses.get(runner.uid, Use()).with_session(session)
        return _load(runner, use), use.sessions, runner.name

    fitting = (runner for runner in runners if is_able(runner) and fits(session.spec, runner))
    return min(fitting, key=rank, default=None)


def is_able(runner: Runner) -> bool:
    """Whether a session can start on this runner now."""
    return (
        runner.state is RunnerState.ONLINE
        and not runner.no_sessions
        and not runner.cordoned
        and not runner.engine_problem
    )


def why_none(spec: SessionSpec, runners: Iterable[Runner]) -> str:
    """Why `choose` found no runner, for the session's owner."""
    online = [runner for runner in runners if runner.state is RunnerState.ONLINE]
    if not online:
        return "no runner is online; see netvps runner ls"
    online = [runner for runner in online if not runner.no_sessions]
    if not online:
        return "no runner that is online runs sessions (all have --no-sessions); see netvps runner ls"
    online = [runner for runner in online if not runner.cordoned]
    if not online:
        return "every runner that is online is drained; see netvps runner ls and netvps runner uncordon"
    able = [runner for runner in online if is_able(runner)]
    if not able:
        problems = "; ".join(f"{runner.name}: {runner.engine_problem}" for runner in online[:_NAMED])
        return f"no runner that is online can start sessions now ({problems}); it starts when one can"
    online = able
    if spec.network is Network.OVERLAY and not any(runner.underlay for runner in online):
        return "no runner that is online is on the overlay; see netvps runner ls, or use another network"
    asked = [f"{spec.cpus:g} CPUs"] if spec.cpus else []
    asked += [f"{_gib_words(spec.memory_bytes)} of memory"] if spec.memory_bytes else []
    overlay = " and is on the overlay" if spec.network is Network.OVERLAY else ""
    return f"no runner that is online has {' and '.join(asked)}{overlay}; see netvps runner ls, or ask for less"


def _gib_words(size: int) -> str:
    """Bytes in GiB for people: 0.5 GiB, 1.25 GiB, 104,857 GiB."""
    gib = size / (1 << 30)
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"  # noqa: PLR2004 — three digits


def _load(runner: Runner, use: Use) -> float:
    """The claimed fraction of the machine; above 1 where the sum of the limits exceeds it.

    A machine of unknown size counts as one CPU and 1 GiB.
    """
    has = runner.capacity
    return max(use.cpu_claims / (1000 * (has.cpus or 1)), use.memory_claims / (has.memory_bytes or 1 << 30))
