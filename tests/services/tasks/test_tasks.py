"""Use cases of tasks and their scheduler (netvps.services.tasks.scheduler, netvps.services.tasks.removal)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.access.quota import Quota
from netvps.domain.runner.gpu import Gpu
from netvps.domain.runner.runner import Capacity
from netvps.domain.session.session import Session
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import Task, TaskCause, TaskReport, TaskState
from netvps.errors import AlreadyExists, Exhausted, NotFound, WrongState
from netvps.services.tasks import tasks as use_cases
from netvps.services.tasks.scheduler import TaskScheduler
from netvps.services.tasks.tasks import Tasks
from tests.fakes.world import ALICE, BOB, HELLO, IMAGE, ROOT, World
from tests.support.patience import PATIENCE

TWO = replace(HELLO, capacity=Capacity(cpus=2, memory_bytes=4 << 30))
OPERATOR = Caller("olga", Role.OPERATOR)


def job(*command: str, cpus: float = 1.0, retries: int = 0, **container: object) -> TaskSpec:
    spec = SessionSpec(cpus=cpus, **container)  # type: ignore[arg-type]
    return TaskSpec(command or ("true",), spec, retries=retries)


class Lab:
    """Tasks in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks = Tasks(world.store, world.clock, world.new_uid, IMAGE, quotas=world.quotas, feed=world.feed)
        self.scheduler = TaskScheduler(world.store, world.clock, world.holdings, world.quotas)

    async def states(self, array: str) -> str:
        """The first letters of the states of an array: "RRP"."""
        page = await self.tasks.list(ROOT, parent="-", array=array)
        return "".join(task.state[1] if task.state == "PREPARING" else task.state[0] for task in page.items)

    async def say(self, task_id: str, state: TaskState, **more: object) -> Task:
        task = await self.world.require(Task, task_id)
        report = TaskReport(task.id, task.epoch, state, **more)  # type: ignore[arg-type]
        await self.tasks.report(task.runner, report)
        return await self.world.require(Task, task_id)


@pytest.fixture
def lab(world: World) -> Lab:
    return Lab(world)


async def test_an_array_runs_as_far_as_there_is_room(lab: Lab) -> None:
    made = await lab.tasks.create(ALICE, job(), 5)
    array = made[0].array
    await lab.scheduler.place_all()
    assert "no runner is online" in (await lab.tasks.get(ALICE, made[0].id)).message
    await lab.world.runner("lab0", hello=replace(HELLO, capabilities=()))
    await lab.scheduler.place_all()
    assert "no runner that is online runs tasks" in (await lab.tasks.get(ALICE, made[0].id)).message
    await lab.world.runner("lab1", hello=TWO)
    await lab.scheduler.place_all()
    assert await lab.states(array) == "RRPPP"  # R: PREPARING
    waiting = await lab.tasks.get(ALICE, made[2].id)
    assert "use its CPUs or memory" in waiting.message
    await lab.say(made[0].id, TaskState.SUCCEEDED, exit_code=0)
    await lab.scheduler.place_all()
    assert await lab.states(array) == "SRRPP"
    assert [task.spec.image for task in made] == [IMAGE] * 5


async def test_a_request_id_makes_an_array_once(lab: Lab) -> None:
    first = await lab.tasks.create(ALICE, job(), 3, "once")
    assert await lab.tasks.create(ALICE, job(), 3, "once") == first
    with pytest.raises(AlreadyExists):
        await lab.tasks.create(ALICE, job(), 4, "once")


async def test_only_its_owner_and_admins_cancel_a_task_and_operators_see_no_environment(lab: Lab) -> None:
    (task,) = await lab.tasks.create(ALICE, job(env={"SECRET": "x"}), 1)
    with pytest.raises(NotFound, match="no task"):
        await lab.tasks.get(BOB, task.id)
    with pytest.raises(NotFound, match="no task"):
        await lab.tasks.cancel(BOB, task.id)
    with pytest.raises(NotFound, match="no task"):
        await lab.tasks.cancel(OPERATOR, task.id)
    assert not (await lab.tasks.get(OPERATOR, task.id)).spec.env
    assert (await lab.tasks.get(ROOT, task.id)).spec.env
    assert not (await lab.tasks.list(BOB, parent="-")).items
    (cancelled,) = await lab.tasks.cancel(ROOT, task.id)
    assert cancelled.state is TaskState.CANCELLED


async def test_a_cancelled_array_ends_where_it_runs(lab: Lab) -> None:
    await lab.world.runner("lab1", hello=TWO)
    made = await lab.tasks.create(ALICE, job(), 3)
    await lab.scheduler.place_all()
    found = await lab.tasks.cancel(ALICE, made[0].array, "r")
    assert [task.state for task in found] == [TaskState.PREPARING, TaskState.PREPARING, TaskState.CANCELLED]
    assert await lab.tasks.cancel(ALICE, made[0].array, "r") == found
    ended = await lab.say(made[0].id, TaskState.CANCELLED)
    assert ended.has_ended


async def test_reports_of_other_runners_and_epochs_change_nothing(lab: Lab) -> None:
    other = await lab.world.runner("lab2", online=False)
    await lab.world.runner("lab1")
    (task,) = await lab.tasks.create(ALICE, job(), 1)
    await lab.scheduler.place_all()
    placed = await lab.world.require(Task, task.id)
    for runner, epoch in ((other.uid, 1), (placed.runner, 0), (placed.runner, 2)):
        await lab.tasks.report(runner, TaskReport(task.id, epoch, TaskState.SUCCEEDED))
    assert await lab.world.require(Task, task.id) == placed


async def test_a_runner_that_is_removed_loses_its_tasks(lab: Lab) -> None:
    await lab.world.runner("lab1")
    (once,) = await lab.tasks.create(ALICE, job(), 1)
    (again,) = await lab.tasks.create(ALICE, job(retries=1), 1)
    await lab.scheduler.place_all()
    await lab.say(once.id, TaskState.RUNNING)
    with pytest.raises(WrongState, match=r"has tasks \(2\)"):
        await lab.world.runners.remove(ROOT, "lab1")
    await lab.world.runners.remove(ROOT, "lab1", force=True)
    lost = await lab.world.require(Task, once.id)
    assert (lost.state, lost.cause, lost.message) == (
        TaskState.LOST,
        TaskCause.RUNNER_LOST,
        "its runner lab1 was removed",
    )
    await lab.world.runner("lab2")
    await lab.scheduler.place_all()
    retried = await lab.world.require(Task, again.id)
    assert (retried.state, retried.runner_name, retried.epoch) == (TaskState.PREPARING, "lab2", 2)


async def test_gpus_are_for_one_session_or_task(lab: Lab) -> None:
    gpus = (Gpu("GPU-0000", "a", 1, ""), Gpu("GPU-0001", "a", 1, ""))
    await lab.world.runner("lab1", hello=replace(HELLO, capacity=replace(HELLO.capacity, gpus=gpus)))
    session = await lab.world.session("dev1", spec=SessionSpec(gpus=1))
    made = await lab.tasks.create(ALICE, job(gpus=1), 2)
    await lab.scheduler.place_all()
    held = (await lab.world.require(Session, session.uid)).gpus
    first, second = [await lab.world.require(Task, task.id) for task in made]
    assert {*held, *first.gpus} == {"GPU-0000", "GPU-0001"}
    assert (second.state, second.gpus) == (TaskState.PENDING, ())
    waiting = await lab.world.session("dev2", spec=SessionSpec(gpus=1))
    assert not waiting.runner
    await lab.say(first.id, TaskState.SUCCEEDED)
    await lab.scheduler.place_all()
    assert (await lab.world.require(Task, second.id)).gpus == first.gpus


async def test_a_quota_holds_for_sessions_and_tasks_together(lab: Lab) -> None:
    await lab.world.runner("lab1")
    async with lab.world.store.write("test") as tx:
        user = await tx.get(User, "alice")
        assert user is not None
        await tx.put(replace(user, quota=Quota(millicpus=2000)))
    with pytest.raises(Exhausted, match="the task asks for 3 CPUs, and user alice has a quota of 2 CPUs"):
        await lab.tasks.create(ALICE, job(cpus=3), 1)
    made = await lab.tasks.create(ALICE, job(), 3)
    await lab.scheduler.place_all()
    assert await lab.states(made[0].array) == "RRP"
    assert "the quota of user alice is used" in (await lab.tasks.get(ALICE, made[2].id)).message
    with pytest.raises(Exhausted, match="2 CPUs of 2 CPUs in use"):
        await lab.world.session("dev1", spec=SessionSpec(cpus=1))


async def test_a_user_has_a_limit_and_the_oldest_ended_ones_make_room(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_cases, "MAX_OPEN", 3)
    monkeypatch.setattr(use_cases, "MAX_KEPT", 4)
    made = await lab.tasks.create(ALICE, job(), 3)
    with pytest.raises(Exhausted, match="alice has 3 tasks that have not ended, and 1 more"):
        await lab.tasks.create(ALICE, job(), 1)
    await lab.tasks.cancel(ALICE, made[0].array)
    await lab.tasks.create(ALICE, job(), 2)
    left = [task.id for task in (await lab.tasks.list(ALICE)).items]
    assert made[0].id not in left
    assert len(left) == 4


async def test_an_ended_task_is_removed_by_its_runner_after_three_days(lab: Lab) -> None:
    await lab.world.runner("lab1")
    (task,) = await lab.tasks.create(ALICE, job(), 1)
    await lab.scheduler.place_all()
    await lab.say(task.id, TaskState.SUCCEEDED)
    await lab.scheduler.expire()
    assert (await lab.tasks.get(ALICE, task.id)).has_ended
    lab.world.clock.now += timedelta(days=3, seconds=1)
    await lab.scheduler.expire()
    with pytest.raises(NotFound):
        await lab.tasks.get(ALICE, task.id)
    row = await lab.world.require(Task, task.id)
    await lab.tasks.report(row.runner, TaskReport(row.id, row.epoch, TaskState.LOST, gone=True))
    assert await lab.world.row(Task, task.id) is None


async def test_a_user_with_tasks_is_not_removed(lab: Lab) -> None:
    made = await lab.tasks.create(BOB, job(), 1)
    with pytest.raises(WrongState, match=r"user bob has tasks that have not ended \(1\)"):
        await lab.world.access.delete_user(ROOT, "bob")
    await lab.tasks.cancel(BOB, made[0].id)
    await lab.world.access.delete_user(ROOT, "bob")
    assert await lab.world.row(Task, made[0].id) is None


async def test_a_wait_ends_with_the_last_task_or_in_time(lab: Lab) -> None:
    await lab.world.runner("lab1")
    made = await lab.tasks.create(ALICE, job(), 2)
    array = made[0].array
    found, done = await lab.tasks.wait(ALICE, array, 0, started=False)
    assert ([task.id for task in found], done) == ([task.id for task in made], False)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        started = group.create_task(lab.tasks.wait(ALICE, array, PATIENCE, started=True))
        ended = group.create_task(lab.tasks.wait(ALICE, array, PATIENCE, started=False))
        await lab.scheduler.place_all()
        for task in made:
            await lab.say(task.id, TaskState.RUNNING)
        assert (await started)[1]
        for task in made:
            await lab.say(task.id, TaskState.SUCCEEDED)
        found, done = await ended
        assert done
        assert {task.state for task in found} == {TaskState.SUCCEEDED}
    with pytest.raises(NotFound):
        await lab.tasks.wait(BOB, array, 0, started=False)
