"""Use cases of tasks. Each change is one transaction; the log carries it to the scheduler and the runner."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.task.lifecycle import cancel, new_tasks, observe
from netvps.domain.task.task import MAX_KEPT, MAX_OPEN, OPEN, Task, TaskAction, TaskState
from netvps.errors import Exhausted, InvalidInput, NotFound
from netvps.services.feed import Topic
from netvps.services.idempotency import Idempotency
from netvps.services.images.default_image import default_image
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import owner_filter, require_user
from netvps.services.tasks.removal import remove_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.accounts import Caller
    from netvps.domain.task.spec import TaskSpec
    from netvps.domain.task.task import TaskReport
    from netvps.services.access.quotas import Quotas
    from netvps.services.feed import Feed
    from netvps.services.ports import Clock, Reader, Store, Transaction

_SHOWN = (TaskAction.RUN, TaskAction.CANCEL, TaskAction.KEEP)
_UNFINISHED = (TaskAction.RUN, TaskAction.CANCEL)


class Tasks:
    """Creates, finds and cancels tasks, and records what runners report of them."""

    def __init__(
        self, store: Store, clock: Clock, new_uid: Callable[[], str], default_image: str, *, quotas: Quotas, feed: Feed
    ) -> None:
        """`default_image` is used if a spec names no image and no admin chose another one; '' if there is none."""
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._default_image = default_image
        self._quotas = quotas
        self._feed = feed

    async def create(self, caller: Caller, job: TaskSpec, count: int, request_id: str = "") -> list[Task]:
        """Creates a task, or an array of `count`. Raises InvalidInput, and Exhausted if the caller has too many."""
        job.require_count(count)
        now = self._clock()
        async with self._store.write(caller.user, "task.create") as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateTasks", job, count)
            if (request := await once.earlier()) is not None:
                return await _named(tx, caller, request.result_key.partition("-")[0])
            await require_user(tx, caller.user)
            await _make_room(tx, caller.user, count)
            if not job.container.image:
                image = await default_image(tx, self._default_image)
                if not image:
                    raise InvalidInput.of(
                        "spec.image",
                        "no image is named, and this server has no default: name one, for example debian:12",
                    )
                job = replace(job, container=replace(job.container, image=image))
            drafts = new_tasks(self._new_uid(), caller.user, job, count, now)
            await self._quotas.reason_to_wait(tx, drafts[0])  # refuses what can never be placed
            made = [await tx.put(task) for task in drafts]
            await once.record(made[0], made[0].id)
            return made

    async def get(self, caller: Caller, task_id: str) -> Task:
        """One task; its environment is for its owner and admins. Raises NotFound, also if the caller may not see it."""
        async with self._store.read() as reader:
            task = await reader.get(Task, task_id)
        if task is None or task.removed or not (caller.sees_all or caller.sees(task.owner)):
            raise _no_task(task_id)
        if caller.sees(task.owner):
            return task
        return replace(task, job=replace(task.job, container=replace(task.spec, env={})))

    async def cancel(self, caller: Caller, name: str, request_id: str = "") -> list[Task]:
        """Ends a task, or all of an array, and returns them. Raises NotFound."""
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "CancelTasks", name)
            found = await _named(tx, caller, name)
            if await once.earlier() is None:
                for index, task in enumerate(found):
                    after = cancel(task, now)
                    if after is not task:
                        found[index] = await tx.put(after)
                await once.record(found[0], name)
            return found

    async def wait(self, caller: Caller, name: str, seconds: float, *, started: bool) -> tuple[list[Task], bool]:
        """A task, or all of an array, once they have ended or `started`, or after these seconds; and whether they have.

        Raises NotFound, and Unavailable when the server stops.
        """
        async with self._feed.subscribe(Topic(Task.kind, "array", name.partition("-")[0])) as news:
            async with self._store.read() as reader:
                found = {task.id: task for task in await _named(reader, caller, name)}
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not all(_is_over(task, started=started) for task in found.values()):
                        change = await anext(news)
                        task = change.resource
                        if isinstance(task, Task) and task.id in found and task.revision > found[task.id].revision:
                            found[task.id] = task
        return [*found.values()], all(_is_over(task, started=started) for task in found.values())

    async def report(self, runner_uid: str, report: TaskReport) -> None:
        """Records a runner's report about one of its tasks; a stale, foreign or unchanged one changes nothing."""
        now = self._clock()
        async with self._store.read() as reader:
            before = await reader.get(Task, report.id)
        if before is None or before.runner != runner_uid or not _is_news(before, report, observe(before, report, now)):
            return
        async with self._store.write(f"runner:{runner_uid}", "runner.task") as tx:
            task = await tx.get(Task, report.id)
            if task is None or task.runner != runner_uid:
                return
            if report.gone and task.removed:
                await tx.delete(task)
                return
            after = observe(task, report, now)
            if after is not task:
                await tx.put(after)

    async def list(
        self,
        caller: Caller,
        *,
        parent: str = "",
        array: str = "",
        unfinished: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Task]:
        """The caller's own tasks (parent ''), all they may see ('-'), or USER's, the oldest first. Raises NotFound.

        `array` is the uid of an array or a task: only those.
        """
        async with self._store.read() as reader:
            where = await owner_filter(reader, caller, parent) | ({"array": array} if array else {})
            actions = _UNFINISHED if unfinished else _SHOWN
            return await read_page(reader, Task, page_size, page_token, action=actions, **where)


def _is_over(task: Task, *, started: bool) -> bool:
    return task.has_ended or (started and task.state is TaskState.RUNNING)


def _is_news(task: Task, report: TaskReport, after: Task) -> bool:
    return after is not task or (report.gone and task.removed)


async def _named(reader: Reader, caller: Caller, name: str) -> list[Task]:
    """The task with that id, or the tasks of that array, by index. Raises NotFound."""
    if "-" in name:
        task = await reader.get(Task, name)
        found = [task] if task else []
    else:
        found = await reader.find(Task, array=name)
    seen = [task for task in found if caller.sees(task.owner) and not task.removed]
    if not seen:
        raise _no_task(name)
    return sorted(seen, key=lambda task: task.index)


async def _make_room(tx: Transaction, owner: str, count: int) -> None:
    """Removes the oldest tasks of a user that ended, beyond a limit. Raises Exhausted beyond that of the others."""
    tally = await tx.tally(Task, "state", owner=owner, action=_SHOWN)
    unfinished = sum(tally.get(state, (0,))[0] for state in OPEN)
    if unfinished + count > MAX_OPEN:
        raise Exhausted(
            f"user {owner} has {unfinished} tasks that have not ended, and {count} more would be over the limit of "
            f"{MAX_OPEN}: wait until some end, or cancel some (netvps task cancel ID)",
            reason="TOO_MANY_TASKS",
        )
    over = sum(row[0] for row in tally.values()) + count - MAX_KEPT
    if over > 0:
        for task in await tx.page(Task, "", over, owner=owner, action=TaskAction.KEEP):
            await remove_task(tx, task)


def _no_task(task_id: str) -> NotFound:
    return NotFound(f"no task {task_id}: see netvps task ls; tasks that ended are kept for three days")
