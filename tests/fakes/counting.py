"""A store that counts what is asked of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.services.ports import Change, Reader, Store, Transaction


class CountingStore:
    """Counts reads of a view, the resources that they brought, and write transactions, begun or not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0
        self.rows = 0
        self.writes = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        async with self._store.read() as reader:
            yield _Counted(self, reader)

    @asynccontextmanager
    async def write(self, actor: str, point: str = "") -> AsyncIterator[Any]:
        self.writes += 1
        async with self._store.write(actor, point) as tx:
            yield _Counted(self, tx)

    async def changes(self, after: int, limit: int) -> list[Change]:
        return await self._store.changes(after, limit)

    async def wait(self, after: int) -> None:
        await self._store.wait(after)


class _Counted:
    def __init__(self, counts: CountingStore, view: Reader | Transaction) -> None:
        self._counts = counts
        self._view = view

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._view, name)
        return self._counting(method) if name in {"get", "find", "page", "tally"} else method

    def _counting(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **where: Any) -> Any:
            self._counts.reads += 1
            found = await method(*args, **where)
            self._counts.rows += len(found) if isinstance(found, list | dict) else found is not None
            return found

        return call
