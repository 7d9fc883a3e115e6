"""Removes tasks that ended, and takes tasks from runners that are removed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.runner import Runner
from netvps.domain.task.lifecycle import lose
from netvps.domain.task.task import OPEN, Task
from netvps.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import Transaction


async def lose_tasks(tx: Transaction, runner: Runner, now: datetime, *, force: bool) -> None:
    """Takes a runner's tasks from it: those with retries left run elsewhere, the others are lost.

    Raises WrongState while some have not ended, unless forced.
    """
    tasks = await tx.find(Task, runner=runner.uid)
    running = [task for task in tasks if task.state in OPEN]
    if running and not force:
        raise WrongState(
            f"runner {runner.name} has tasks ({len(running)}): wait until they end (netvps runner cordon {runner.name} "
            f"keeps others away), or cancel them; if the machine is lost: netvps runner rm --force {runner.name}",
            reason="RUNNER_HAS_TASKS",
        )
    for task in tasks:
        if task.removed:
            await tx.delete(task)
        elif not task.has_ended:
            await tx.put(lose(task, now, f"its runner {runner.name} was removed"))


async def remove_task(tx: Transaction, task: Task) -> None:
    """Lets its runner remove a task that ended; one that no runner has is deleted at once."""
    if task.runner and await tx.get(Runner, task.runner) is not None:
        await tx.put(replace(task, removed=True))
    else:
        await tx.delete(task)
