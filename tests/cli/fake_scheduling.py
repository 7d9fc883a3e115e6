"""What a fake server does for programs that schedule sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from netvps.domain.batch import NewSession
from netvps.domain.names import SessionName
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.scheduling.lease import NamedLease, SessionLease
from netvps.domain.session.exec import Stderr, Stdout
from netvps.domain.session.session import Session, SessionState
from netvps.domain.task.lifecycle import cancel, new_tasks
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import Task
from netvps.errors import NotFound
from tests.cli.fake_people import MOMENT

TASK = "0000000000001"


class FakeScheduling:
    """Its part of FakeClient."""

    lease: SessionLease | None = None
    tasks: tuple[Task, ...] = ()
    ends: tuple[dict[str, Any], ...] = ()
    logs: tuple[tuple[Stdout | Stderr | Exception, ...], ...] = ()

    def _ask(self, method: str, *arguments: Any) -> None:
        raise NotImplementedError

    def create_many(self, drafts: list[NewSession]) -> list[Session]:
        from tests.cli.fake_client import session

        self._ask("create_many", drafts)
        return [session(draft.session_id, SessionState.PENDING, observed_generation=0) for draft in drafts]

    def reserve_address(self, runner: str, ttl: float) -> AddressReservation:
        self._ask("reserve_address", runner, ttl)
        return AddressReservation("token", "10.128.0.7", "", "", runner, MOMENT + timedelta(seconds=ttl))

    def with_lease(self, epoch: int) -> Self:
        self._ask("with_lease", epoch)
        return self

    def acquire_lease(self, name: str, holder: str, ttl: float, *, epoch: int = 0, force: bool = False) -> NamedLease:
        self._ask("acquire_lease", name, holder, ttl, epoch, force)
        self.lease = SessionLease("", holder, "alice", epoch or 42, MOMENT, MOMENT + timedelta(seconds=ttl))
        return self.get_lease(name)

    def release_lease(self, name: str, epoch: int = 0, *, force: bool = False) -> NamedLease:
        self._ask("release_lease", name, epoch, force)
        return self.get_lease(name)

    def get_lease(self, name: str) -> NamedLease:
        if self.lease is None:
            raise NotFound(f"session {name} is not leased")
        return NamedLease(self.lease, str(SessionName.parse(name, "alice")))

    def create_tasks(self, job: TaskSpec, count: int = 1) -> list[Task]:
        self._ask("create_tasks", job, count)
        self.tasks = tuple(new_tasks(TASK, "alice", job, count, MOMENT))
        return [*self.tasks]

    def get_task(self, task_id: str) -> Task:
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise NotFound(f"no task {task_id}")

    def list_tasks(self, *, user: str = "", array: str = "", unfinished: bool = False) -> list[Task]:
        self._ask("list_tasks", user, array, unfinished)
        return [task for task in self.tasks if array in {"", task.array}]

    def cancel_tasks(self, task_id: str) -> list[Task]:
        self._ask("cancel_tasks", task_id)
        self.tasks = tuple(cancel(task, MOMENT) for task in self.tasks)
        return [*self.tasks]

    def wait_tasks(self, task_id: str, timeout: float = 60.0, *, started: bool = False) -> tuple[list[Task], bool]:
        """Each call ends the tasks as `ends` says, if it has one left."""
        self._ask("wait_tasks", task_id, started)
        if self.ends:
            self.tasks = tuple(replace(task, **self.ends[0]) for task in self.tasks)
            self.ends = self.ends[1:]
        return [*self.tasks], all(task.has_ended or (started and task.state == "RUNNING") for task in self.tasks)

    def read_task_logs(self, task_id: str, tail_lines: int = 0, follow: bool = False) -> Iterator[Stdout | Stderr]:
        """The next of `logs`, with its breaks."""
        self._ask("read_task_logs", task_id, tail_lines, follow)
        pieces, self.logs = self.logs[0], self.logs[1:]
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece
