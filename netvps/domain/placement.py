"""Where a session goes: a pure choice among the runners that are online."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.runner import RunnerState
from netvps.domain.session import DesiredState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netvps.domain.runner import Runner
    from netvps.domain.session import Session, SessionSpec

# What a session without a limit counts for, so that such sessions spread too.
_UNLIMITED_CPUS = 1.0
_UNLIMITED_MEMORY = 1 << 30


def fits(spec: SessionSpec, runner: Runner) -> bool:
    """Whether the machine as a whole is large enough (Docker refuses more CPUs than there are); 0 is not known."""
    has = runner.capacity
    return (not has.cpus or spec.cpus <= has.cpus) and (not has.memory_bytes or spec.memory_bytes <= has.memory_bytes)


def choose(spec: SessionSpec, runners: Iterable[Runner], placed: Sequence[Session]) -> Runner | None:
    """The online runner on which the session leaves most room, or None if it fits none.

    Room is by CPU or memory, whichever is scarcer. Limits may add up to more than a machine has: people's sessions
    idle most of the time. `placed` are the sessions of all runners; those that shall not run count for nothing.
    """
    candidates = [runner for runner in runners if runner.state is RunnerState.ONLINE and fits(spec, runner)]
    specs: dict[str, list[SessionSpec]] = {runner.uid: [spec] for runner in candidates}
    for session in placed:
        if session.desired is DesiredState.RUNNING and session.runner in specs:
            specs[session.runner].append(session.spec)
    return min(
        candidates,
        key=lambda runner: (_load(runner, specs[runner.uid]), len(specs[runner.uid]), runner.name),
        default=None,
    )


def why_none(spec: SessionSpec, runners: Iterable[Runner]) -> str:
    """Why `choose` found no runner, for the session's owner."""
    if not any(runner.state is RunnerState.ONLINE for runner in runners):
        return "no runner is online; see netvps runner ls"
    asked = [f"{spec.cpus:g} CPUs"] if spec.cpus else []
    asked += [f"{spec.memory_bytes / (1 << 30):.3g} GiB of memory"] if spec.memory_bytes else []
    return f"no runner that is online has {' and '.join(asked)}; see netvps runner ls, or ask for less"


def _load(runner: Runner, specs: Sequence[SessionSpec]) -> float:
    """The part of the machine that is spoken for, from 0, past 1 where limits add up to more than there is."""
    cpus = sum(spec.cpus or _UNLIMITED_CPUS for spec in specs) / (runner.capacity.cpus or _UNLIMITED_CPUS)
    memory = sum(spec.memory_bytes or _UNLIMITED_MEMORY for spec in specs)
    return max(cpus, memory / (runner.capacity.memory_bytes or _UNLIMITED_MEMORY))
