"""Tasks of a runner: netvps.runner.task.orders, netvps.runner.task.records and, by a fake, netvps.runner.task.ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.domain.session.blueprint import NOTHING, Blueprint
from netvps.domain.session.container import Container, Status
from netvps.domain.session.exec import Stderr
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.container import TaskContainer
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import ENDED, TaskAction, TaskCause, TaskOrder, TaskReport, TaskState
from netvps.errors import NetvpsError, NotFound, Unavailable, WrongState
from netvps.runner.task import run as module
from netvps.runner.task.orders import TaskOrders
from netvps.runner.task.records import TaskRecords
from netvps.runner.task.run import TaskHost
from tests.support.patience import PATIENCE

TASK = "0000000000001"
ORDER = TaskOrder(TASK, 1, TaskAction.RUN, "alice", TaskSpec(("true",), SessionSpec(image="debian:12")))


class Crash(BaseException):
    """The runner is killed."""


class Engine:
    """Containers of tasks, in memory. `crash` is the number of the effect after or before which the runner dies."""

    def __init__(self) -> None:
        self.there: dict[str, TaskContainer] = {}
        self.starts = 0
        self.signals: list[str] = []
        self.errors: dict[str, NetvpsError] = {}
        self.ends: int | None = 0
        """Exit code with which a command ends at once; None: it runs."""
        self.effects = 0
        self.crash = 0
        self.pulling: asyncio.Event | None = None

    async def find(self, task_id: str, owner: str) -> TaskContainer | None:
        return self.there.get(task_id)

    async def provide(self, reference: str) -> None:
        if self.pulling:
            await self.pulling.wait()
        if error := self.errors.get("provide"):
            raise error

    async def create(self, plan: Blueprint) -> None:
        with self._effect():
            if error := self.errors.get("create"):
                raise error
            container = Container(plan.session_uid, Status.CREATED, 1)
            self.there[plan.session_uid] = TaskContainer(container, int(plan.labels["netvps.epoch"]))

    async def start(self, container: Container) -> None:
        with self._effect():
            found = self.there[container.id]
            if error := self.errors.get("start"):
                self.there[container.id] = replace(
                    found, container=replace(found.container, exit_code=127), error=error.message
                )
                raise error
            if found.container.status is not Status.CREATED:
                return
            self.starts += 1
            started = replace(found.container, status=Status.RUNNING, started=datetime.now(UTC))
            self.there[container.id] = replace(found, container=started)
            if self.ends is not None:
                self.end(self.ends)

    async def signal(self, container: Container, signal: str) -> None:
        self.signals.append(signal)
        if signal == "TERM":
            self.end(143)

    async def logs(self, task_id: str, tail_lines: int, *, follow: bool) -> AsyncGenerator[bytes | Stderr, None]:
        yield b"out"
        yield Stderr(b"err")

    async def remove(self, container_id: str) -> None:
        with self._effect():
            self.there.pop(container_id, None)

    def end(self, code: int) -> None:
        found = self.there[TASK]
        ended = replace(found.container, status=Status.EXITED, exit_code=code, ended=datetime.now(UTC))
        self.there[TASK] = replace(found, container=ended)

    def _effect(self) -> _Effect:
        return _Effect(self)


class _Effect:
    """An effect in the engine; the runner may die just before it or just after it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._count()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._count()

    def _count(self) -> None:
        self._engine.effects += 1
        if self._engine.effects == self._engine.crash:
            raise Crash


class Lab:
    def __init__(self, folder: Path) -> None:
        self.engine, self.records = Engine(), TaskRecords(folder / "tasks")
        self.reports: list[TaskReport] = []
        self.forgotten: list[str] = []
        self._news = asyncio.Event()
        self.host = TaskHost(self.engine, self.records, self._post, "0000000000009", lambda: NOTHING)

    def _post(self, report: TaskReport) -> None:
        self.reports.append(report)
        self._news.set()

    @asynccontextmanager
    async def running(self, *orders: TaskOrder) -> AsyncIterator[TaskOrders]:
        async with TaskOrders(self.host, self.forgotten.append) as made:
            for order in orders:
                made.order(order)
            yield made

    async def until(self, condition: Callable[[TaskReport], bool]) -> TaskReport:
        async with asyncio.timeout(PATIENCE):
            while not (self.reports and condition(self.reports[-1])):
                self._news.clear()
                await self._news.wait()
        return self.reports[-1]

    async def ended(self) -> TaskReport:
        return await self.until(lambda report: report.state in ENDED)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def test_a_command_runs_once_and_its_end_is_reported(lab: Lab) -> None:
    lab.engine.ends = 3
    async with lab.running(ORDER) as orders:
        report = await lab.ended()
        assert (report.state, report.cause, report.exit_code) == (TaskState.FAILED, TaskCause.EXIT_CODE, 3)
        orders.order(ORDER)
        orders.order(replace(ORDER, action=TaskAction.KEEP))
        assert lab.forgotten == [TASK]
        orders.order(replace(ORDER, action=TaskAction.REMOVE))
        await lab.until(lambda report: report.gone)
    assert (lab.engine.starts, lab.engine.there, lab.records.read(TASK)) == (1, {}, None)


@pytest.mark.parametrize("crash", range(1, 7))
async def test_a_runner_killed_at_any_effect_runs_no_command_twice_and_loses_none(lab: Lab, crash: int) -> None:
    lab.engine.crash = crash
    run = module.TaskRun(lab.host, ORDER)
    try:
        while not await run.step():
            pass
    except Crash:
        pass
    again = module.TaskRun(lab.host, ORDER)
    while not await again.step():
        pass
    assert lab.engine.starts == 1
    assert lab.reports[-1].state is TaskState.SUCCEEDED


async def test_an_end_is_reported_after_a_restart_although_the_container_is_gone(lab: Lab) -> None:
    async with lab.running(ORDER):
        ended = await lab.ended()
    lab.engine.there.clear()
    lab.reports.clear()
    async with lab.running(ORDER):
        assert await lab.ended() == ended
    assert lab.engine.starts == 1


async def test_a_task_whose_container_was_removed_while_it_ran_is_lost(lab: Lab) -> None:
    lab.engine.ends = None
    async with lab.running(ORDER) as orders:
        await lab.until(lambda report: report.state is TaskState.RUNNING)
        lab.engine.there.clear()
        orders.wake("")
        assert (await lab.ended()).state is TaskState.LOST
    async with lab.running(replace(ORDER, epoch=2)):  # this runner has it again
        lab.engine.ends = 0
        await lab.until(lambda report: report.state is TaskState.RUNNING or report.state is TaskState.SUCCEEDED)
    assert lab.engine.starts == 2


async def test_a_cancelled_command_gets_sigterm(lab: Lab) -> None:
    lab.engine.ends = None
    async with lab.running(ORDER) as orders:
        await lab.until(lambda report: report.state is TaskState.RUNNING)
        orders.order(replace(ORDER, action=TaskAction.CANCEL))
        assert (await lab.ended()).state is TaskState.CANCELLED
    assert lab.engine.signals == ["TERM"]


async def test_a_cancel_ends_the_wait_for_an_image(lab: Lab) -> None:
    lab.engine.pulling = asyncio.Event()
    async with lab.running(ORDER) as orders:
        await asyncio.sleep(0)
        while not orders._runs[TASK].preparing:
            await asyncio.sleep(0)
        orders.order(replace(ORDER, action=TaskAction.CANCEL))
        assert (await lab.ended()).state is TaskState.CANCELLED
    assert lab.engine.starts == 0


async def test_a_command_that_runs_for_too_long_is_ended(lab: Lab) -> None:
    lab.engine.ends = None
    assert ORDER.job is not None
    async with lab.running(replace(ORDER, job=replace(ORDER.job, timeout=1.0))) as orders:
        await lab.until(lambda report: report.state is TaskState.RUNNING)
        found = lab.engine.there[TASK]
        long_ago = replace(found.container, started=datetime.now(UTC) - timedelta(seconds=9))
        lab.engine.there[TASK] = replace(found, container=long_ago)
        orders.wake(TASK)
        assert (await lab.ended()).cause is TaskCause.TIMEOUT


async def test_a_command_that_ignores_sigterm_is_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    lab.engine.ends = None

    async def signal(_container: Container, name: str) -> None:
        if name == "KILL":
            lab.engine.end(137)

    monkeypatch.setattr(lab.engine, "signal", signal)
    async with lab.running(ORDER) as orders:
        await lab.until(lambda report: report.state is TaskState.RUNNING)
        orders.order(replace(ORDER, action=TaskAction.CANCEL))
        report = await lab.ended()
    assert (report.state, report.exit_code) == (TaskState.CANCELLED, 137)


@pytest.mark.parametrize(
    ("call", "error", "cause", "code"),
    [
        ("provide", NotFound("there is no such image"), TaskCause.IMAGE, None),
        ("create", WrongState("it cannot be created"), TaskCause.START, None),
        ("start", WrongState("executable not found"), TaskCause.START, 127),
    ],
)
async def test_what_cannot_start_fails_with_its_cause(
    lab: Lab, call: str, error: NetvpsError, cause: TaskCause, code: int | None
) -> None:
    lab.engine.errors[call] = error
    async with lab.running(ORDER):
        report = await lab.ended()
    assert (report.state, report.cause, report.exit_code) == (TaskState.FAILED, cause, code)
    assert error.message in report.message


async def test_a_registry_that_is_away_is_tried_again_for_an_hour(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.engine.errors["provide"] = Unavailable("the registry does not answer")
    async with lab.running(ORDER):
        report = await lab.until(lambda report: report.state is TaskState.PREPARING)
        assert report.message == "the registry does not answer"
        monkeypatch.setattr(module, "PREPARE_SECONDS", 0.0)
        assert (await lab.ended()).cause is TaskCause.IMAGE


async def test_an_older_order_is_refused_and_an_unknown_task_keeps_its_container(lab: Lab) -> None:
    lab.engine.ends = None
    async with lab.running(replace(ORDER, epoch=2)) as orders:
        await lab.until(lambda report: report.state is TaskState.RUNNING)
        orders.order(ORDER)
        assert orders._runs[TASK].order.epoch == 2
        orders.keep_named()
        assert orders._runs
        orders.keep_named()
        assert not orders._runs
    assert TASK in lab.engine.there
