"""How simulated runners behave: how fast they are, and what goes wrong with them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import DesiredState, SessionReport, SessionState
from netvps.domain.task.task import TaskCause, TaskReport, TaskState

if TYPE_CHECKING:
    from netvps.domain.session.session import Assignment
    from netvps.domain.task.task import TaskOrder

_GOALS: Final = {
    DesiredState.RUNNING: SessionState.RUNNING,
    DesiredState.PAUSED: SessionState.PAUSED,
    DesiredState.STOPPED: SessionState.STOPPED,
    DesiredState.DELETED: SessionState.DELETED,
}
_SECONDS: Final = {
    DesiredState.RUNNING: (0.2, 2.0),
    DesiredState.PAUSED: (0.0, 0.1),
    DesiredState.STOPPED: (0.1, 3.0),
    DesiredState.DELETED: (0.1, 1.0),
}
"""How long a machine takes for a change, at least and at most."""
_TASK_SECONDS: Final = (0.5, 5.0)
"""How long a command takes."""
_SLOW: Final = 10.0
_DISK_FULL: Final = 0.05


class Fault(StrEnum):
    """What goes wrong, as often as `Behaviour` says."""

    SLOW_STOP = "slow-stop"
    """A stop takes ten times as long."""
    LOST_RUNNER = "lost-runner"
    """A runner loses its connection each minute or two, and comes back after 20 to 60 s."""
    DUPLICATE = "duplicate"
    """Each report is sent twice."""
    DISK_FULL = "disk-full"
    """One start in twenty fails, of sessions and of tasks."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What all runners of a simulation have in common."""

    seed: int = 1
    """Decides how long each change takes, and which one fails."""
    speed: float = 1.0
    """How many times faster changes are than on machines."""
    faults: frozenset[Fault] = frozenset()

    def change(self, runner: str, wanted: Assignment) -> tuple[float, SessionReport]:
        """How many seconds a change takes, and how it ends.

        That depends on the seed, the names of runner and session, and the generation alone.
        """
        draw = random.Random(f"{self.seed} {runner} {wanted.session_id} {wanted.generation}")  # noqa: S311 — a simulation
        seconds = draw.uniform(*_SECONDS[wanted.desired]) / self.speed
        if wanted.desired is DesiredState.STOPPED and Fault.SLOW_STOP in self.faults:
            seconds *= _SLOW
        report = SessionReport(wanted.session_uid, wanted.epoch, wanted.generation, _GOALS[wanted.desired])
        fails = draw.random() < _DISK_FULL and Fault.DISK_FULL in self.faults
        if fails and wanted.desired is DesiredState.RUNNING:
            report = replace(report, state=SessionState.FAILED, reason="disk_full", message="no space left on device")
        return seconds, report

    def task(self, order: TaskOrder) -> tuple[float, TaskReport]:
        """How many seconds a command takes, and how it ends: by the seed, its owner and its index alone."""
        draw = random.Random(f"{self.seed} {order.owner} {order.index}")  # noqa: S311 — a simulation
        seconds = draw.uniform(*_TASK_SECONDS) / self.speed
        if draw.random() < _DISK_FULL and Fault.DISK_FULL in self.faults:
            message = "no space left on device"
            return seconds, TaskReport(order.id, order.epoch, TaskState.FAILED, TaskCause.START, message=message)
        return seconds, TaskReport(order.id, order.epoch, TaskState.SUCCEEDED, exit_code=0)
