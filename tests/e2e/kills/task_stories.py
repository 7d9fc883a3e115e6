"""A command that runs to its end, for the walk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import task_container_name
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import TaskState
from netvps.errors import NetvpsError
from tests.e2e.kills.faulty import until
from tests.e2e.system import docker

if TYPE_CHECKING:
    from netvps.domain.task.task import Task
    from tests.e2e.kills.faulty import Faulty

TASK_PASSES: Final = {
    "run_task": [
        *(
            f"{name}.{side}_commit"
            for name in ("task.create", "task.place", "runner.task")
            for side in ("before", "after")
        ),
        *("task.recorded", "task.started", "task.ended"),
    ]
}
"""Operation → the points that it passes."""


class TaskStories:
    """A part of Stories."""

    system: Faulty
    spec: SessionSpec

    def run_task(self, point: str, mode: str) -> None:
        """A command runs once, and its end is known."""
        container = SessionSpec(image=self.spec.image, cpus=0.2, memory_bytes=32 << 20)
        job = TaskSpec(("sh", "-c", "echo ran; exit 3"), container)
        with self.system.struck(point, mode):
            (made,) = self.system.answered(lambda client: client.create_tasks(job))
            self._ended(made.id)
        ended = self._ended(made.id)
        assert (ended.state, ended.exit_code, ended.epoch) == (TaskState.FAILED, 3, 1), ended.message
        assert docker("logs", task_container_name(made.id)) == "ran\n"

    def _ended(self, task_id: str) -> Task:
        found: list[Task] = []

        def has_ended() -> bool:
            try:
                with self.system.connect() as client:
                    found.append(client.get_task(task_id))
            except NetvpsError:
                return False
            return found[-1].has_ended

        until(f"task {task_id} ends", has_ended)
        return found[-1]
