"""Places tasks that wait on runners that have room, and removes tasks that ended long ago.

A task waits while the tasks of each runner have its CPUs or its memory: unlike sessions, which are idle most of the
time, tasks are not given more than there is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.runner.placement import Use, choose, gpus_for, why_none
from netvps.domain.runner.runner import TASKS, Runner, RunnerState
from netvps.domain.task.lifecycle import place, wait
from netvps.domain.task.room import Room
from netvps.domain.task.task import KEPT_SECONDS, PLACED, Task, TaskAction, TaskState
from netvps.errors import Exhausted, NetvpsError
from netvps.services.feed import Topic
from netvps.services.sessions.scheduler import uses_of_runners
from netvps.services.tasks.removal import remove_task

if TYPE_CHECKING:
    from netvps.services.access.quotas import Quotas
    from netvps.services.feed import Feed
    from netvps.services.images.holdings import ImageHoldings
    from netvps.services.ports import Change, Clock, Reader, Store, Transaction

INTERVAL: Final = 1.0
"""Seconds after which waiting tasks are looked at even if nothing has changed."""
_PAUSE: Final = 0.05
"""Seconds between two looks, so that many changes make few of them."""
MAX_LOOKED: Final = 200
"""How many of the tasks that wait are looked at, the oldest first: the others wait for these."""
_MAX_EXPIRED: Final = 500
_NO_TASKS: Final = "no runner that is online runs tasks: earlier versions do not, nor those with --no-sessions"
_NO_ROOM: Final = "the tasks of every runner that could run it use its CPUs or memory; it starts when one has room"
_EXPIRE_EVERY: Final = 60.0
log = structlog.get_logger()


class TaskScheduler:
    """`run` is a task of the program; several servers of one database may each have one."""

    def __init__(self, store: Store, clock: Clock, images: ImageHoldings, quotas: Quotas) -> None:
        """`images` says which runners have which images."""
        self._store = store
        self._clock = clock
        self._images = images
        self._quotas = quotas

    async def run(self, feed: Feed) -> None:
        """Places tasks after each change that one may wait for, and from time to time, until cancelled."""
        expire = 0.0
        while True:
            try:
                async with feed.subscribe(Topic(Task.kind), Topic(Runner.kind), match=_may_make_room) as news:
                    while True:
                        await self.place_all()
                        if (now := asyncio.get_running_loop().time()) >= expire:
                            expire = now + _EXPIRE_EVERY
                            await self.expire()
                        await asyncio.sleep(_PAUSE)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(INTERVAL):
                                await anext(news)
                        while len(news):
                            await anext(news)
            except NetvpsError as error:
                log.warning("cannot place tasks; retrying", error=error.message)
            await asyncio.sleep(INTERVAL)

    async def place_all(self) -> None:
        """Places the tasks that wait, as far as there is room."""
        async with self._store.read() as reader:  # most changes find none that waits, and need no write lock
            if not await reader.page(Task, "", 1, state=TaskState.PENDING):
                return
        async with self._store.write("tasks", "task.place") as tx:
            await _place_waiting(tx, self._images, self._quotas)

    async def expire(self) -> None:
        """Removes tasks that ended long ago."""
        before = self._clock() - timedelta(seconds=KEPT_SECONDS)
        async with self._store.read() as reader:
            kept = await reader.page(Task, "", _MAX_EXPIRED, action=TaskAction.KEEP)
        if due := [task for task in kept if task.end_time and task.end_time < before]:
            async with self._store.write("tasks") as tx:
                for task in due:
                    await remove_task(tx, task)


async def _place_waiting(tx: Transaction, images: ImageHoldings, quotas: Quotas) -> None:
    waiting = await tx.page(Task, "", MAX_LOOKED, state=TaskState.PENDING)
    found = await tx.find(Runner, state=RunnerState.ONLINE)
    online = [one for one in found if TASKS in one.capabilities]
    uses, room = await uses_of_runners(tx, online, waiting), await _room(tx)
    blocked: dict[str, str] = {}
    """Arrays of which one task cannot be placed, and why: the others are the same, and there is no more room later."""
    for task in waiting:
        if task.array in blocked:
            await _explain(tx, task, blocked[task.array])
            continue
        places = images.places(task.spec.image)
        runner = choose(task, [one for one in online if room.has(task, one)], uses, places)
        if runner is None:
            able = choose(task, online, uses, places)
            why = _NO_ROOM if able else why_none(task.spec, online, uses, task.owner, places)
            why = _NO_TASKS if found and not online else why
        else:
            why = await _over_quota(tx, quotas, task)
        if runner is None or why:
            blocked[task.array] = why
            await _explain(tx, task, why)
            continue
        use = uses.get(runner.uid, Use())
        placed = place(task, runner, gpus_for(task, runner, use) or ())
        uses[runner.uid] = use.with_session(placed)
        room = room.without(placed)
        await tx.put(placed)


async def _explain(tx: Transaction, task: Task, why: str) -> None:
    if (waits := wait(task, why)) is not task:
        await tx.put(waits)


async def _over_quota(tx: Transaction, quotas: Quotas, task: Task) -> str:
    try:
        return await quotas.reason_to_wait(tx, task)
    except Exhausted as error:  # the quota was lowered after it was created
        return error.message


async def _room(reader: Reader) -> Room:
    return Room(await reader.tally(Task, "runner", "cpu_claim", "memory_claim", state=PLACED))


def _may_make_room(change: Change) -> bool:
    match change.resource:
        case Task() as task:
            return change.deleted or task.state is TaskState.PENDING or task.has_ended
        case Runner() as runner:
            return runner.state is RunnerState.ONLINE
    return False
