"""How much room runners have for tasks, which get no more CPUs and memory than their machine has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner
    from netvps.domain.task.task import Task


@dataclass(frozen=True, slots=True)
class Room:
    """What the tasks of runners claim: by uid, their number, millicores and bytes of memory."""

    claims: Mapping[str, tuple[int, ...]]

    def has(self, task: Task, runner: Runner) -> bool:
        """Whether a runner has room for one more task; one that is larger than the machine's rest runs alone."""
        count, cpus, memory = self.claims.get(runner.uid, (0, 0, 0))
        machine = runner.capacity
        return not count or (
            cpus + task.cpu_claim <= 1000 * (machine.cpus or 1)
            and memory + task.memory_claim <= (machine.memory_bytes or 1 << 30)
        )

    def without(self, task: Task) -> Room:
        """The room that is left with one more task on its runner."""
        count, cpus, memory = self.claims.get(task.runner, (0, 0, 0))
        claims = count + 1, cpus + task.cpu_claim, memory + task.memory_claim
        return Room({**self.claims, task.runner: claims})
