"""Cancelled at whatever moment, an operation leaves a store that works, and a database that is not locked."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from netvps.adapters.store import open_store
from netvps.adapters.store.connection import unbroken
from netvps.adapters.store.dialects.dialect import READERS
from netvps.domain.runner.runner import Lease
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
    from datetime import datetime

    from netvps.adapters.store import SqlStore

    Operation = Callable[[SqlStore], Coroutine[Any, Any, Any]]


class CancelledAt:
    """Work whose task is cancelled, `times` times, when it waits for the `step`-th time."""

    def __init__(self, work: Coroutine[Any, Any, Any], step: int, times: int) -> None:
        self._work = work.__await__()
        self._step = step
        self._times = times
        self.reached = False

    def __await__(self) -> Generator[Any, None, None]:
        error: BaseException | None = None
        for step in count():
            with suppress(StopIteration):
                waits_for = self._work.throw(error) if error else self._work.send(None)
                if step == self._step:
                    self._cancel_soon()
                try:
                    error = yield waits_for
                except asyncio.CancelledError as cancelled:
                    error = cancelled
                continue
            return

    def _cancel_soon(self) -> None:
        self.reached, task = True, asyncio.current_task()
        assert task is not None
        for _ in range(self._times):
            asyncio.get_running_loop().call_soon(task.cancel)


async def put_pair(store: SqlStore, name: str = "cancelled") -> None:
    async with store.write("me") as transaction:
        for half in ("a", "b"):
            await transaction.put(Lease(f"{name}-{half}", f"{name}-{half}", 1))


async def read_all(store: SqlStore) -> list[Lease]:
    async with store.read() as view:
        return await view.find(Lease)


@pytest.fixture
async def other(url: str, clock: Callable[[], datetime]) -> AsyncIterator[SqlStore]:
    """The same database, as another program has it open."""
    async with open_store(url, clock) as opened:
        yield opened


@pytest.fixture
def _no_garbage_collection() -> Iterator[None]:
    """It would close what was left open."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_collection")
@pytest.mark.parametrize(
    "operation",
    [
        read_all,
        put_pair,
        lambda store: store.changes(0, 10),
        lambda store: store.compact(2, 1 << 40),
        lambda s: s.cluster_id(),
    ],
    ids=["read", "write", "changes", "compact", "cluster_id"],
)
async def test_cancelled_at_any_await_it_harms_no_other(store: SqlStore, other: SqlStore, operation: Operation) -> None:
    await put_pair(store, "before")
    for step in count():
        work = CancelledAt(operation(store), step, times=1 + step % 2)
        task = asyncio.ensure_future(work)
        await asyncio.wait((task,))
        assert task.cancelled() is work.reached
        async with asyncio.timeout(PATIENCE):
            await put_pair(other, f"other-{step}")  # it is not locked
            await put_pair(store, f"same-{step}")
            await read_at_once(store, READERS)
        if not work.reached:
            break
    else:
        raise AssertionError
    assert step > 2
    leases = [lease.cidr for lease in await read_all(other)]
    assert [name[:-2] for name in leases[::2]] == [name[:-2] for name in leases[1::2]]  # never half of a pair


async def read_at_once(store: SqlStore, number: int) -> None:
    """As many as there are connections: none of them is lost."""
    async with AsyncExitStack() as stack:
        for _ in range(number):
            await stack.enter_async_context(store.read())


async def test_what_is_unbroken_ends_before_who_was_cancelled() -> None:
    go, ended = asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        ended.append("work")
        raise ZeroDivisionError  # no one awaits it

    task = asyncio.ensure_future(unbroken(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    assert not task.done()
    go.set()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert ended == ["work"]


async def test_what_is_not_interrupted_returns_and_raises_unchanged() -> None:
    async def work(number: int) -> float:
        await asyncio.sleep(0)
        return 1 / number

    assert await unbroken(work(2)) == 0.5
    with pytest.raises(ZeroDivisionError):
        await unbroken(work(0))
