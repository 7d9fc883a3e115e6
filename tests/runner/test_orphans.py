"""What was orphaned a grace period ago, and still is, is removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime

from netvps.domain.runner.runner import Capacity
from netvps.errors import Unavailable
from netvps.runner.orphans import Orphans
from netvps.runner.ports import Machine
from netvps.tasks import Tasks
from tests.support.patience import PATIENCE


class UnreliableMachine:
    """Owns sessions; the first look fails."""

    def __init__(self, *uids: str) -> None:
        self.uids = set(uids)
        self.looks = 0
        self.erased = asyncio.Event()

    async def mounted(self) -> frozenset[str]:
        return frozenset()

    async def owned(self) -> frozenset[str]:
        self.looks += 1
        if self.looks == 1:
            raise Unavailable("no engine")
        return frozenset(self.uids)

    async def erase(self, uid: str) -> None:
        self.uids.remove(uid)
        self.erased.set()

    async def capacity(self) -> Capacity:
        return Capacity()

    async def watch(self, changed: Callable[[str], None]) -> None:
        return

    async def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        yield b""


async def test_only_what_is_orphaned() -> None:
    machine = UnreliableMachine("known", "orphan")
    port: Machine = machine
    async with Tasks() as tasks:
        tasks.start(Orphans(port, machine.erase, 0.01).sweep(lambda: frozenset({"known"})), name="sweep")
        async with asyncio.timeout(PATIENCE):
            await machine.erased.wait()
    assert machine.uids == {"known"}
    assert machine.looks >= 3  # seen twice, after the look that failed
