"""Two runners and a session, for tests of moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.moves.eviction import Eviction
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.domain.snapshot.copies import Copy, CopyReport, CopyState
from netvps.domain.snapshot.snapshot import SnapshotResult, SnapshotState
from tests.fakes.world import HELLO
from tests.services.snapshots.taking import report

if TYPE_CHECKING:
    from netvps.domain.runner.runner import RunnerHello
    from tests.fakes.world import World


class Cluster:
    """Runners lab1 and lab2, and a session of Alice's that runs on lab1; runners do what they are asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uid = ""
        self.runners: dict[str, str] = {}

    async def begin(self, hello: RunnerHello = HELLO) -> None:
        self.runners["lab1"] = (await self.world.runner("lab1", hello=hello)).uid
        self.uid = (await self.world.session("dev1")).uid
        await self.says(SessionState.RUNNING)
        self.runners["lab2"] = (await self.world.runner("lab2", hello=hello)).uid

    async def session(self) -> Session:
        row = await self.world.row(Session, self.uid)
        assert row is not None
        return row

    async def stage(self) -> str:
        move = (await self.session()).move
        assert move is not None
        return move.stage

    async def says(self, state: SessionState, reason: str = "", message: str = "") -> None:
        """Its runner reports that its present generation is in this state."""
        row = await self.session()
        result = SessionReport(row.uid, row.epoch, row.generation, state, reason, message)
        await self.world.runners.report(row.runner, result)

    async def step(self) -> None:
        await self.world.moves.advance_all()
        await self.world.moves.release_all()

    async def take(self) -> None:
        """Its runner takes the snapshots that it was ordered to take."""
        row = await self.session()
        ready = [SnapshotResult(one.uid, SnapshotState.READY) for one in row.snapshot_orders if not one.delete]
        await report(self.world, row, *ready)

    async def receive(self) -> None:
        """All runners report receipts for what they were ordered to copy."""
        for copy in await self.world.rows(Copy):
            if not copy.held:
                receipt = CopyReport(copy.session, copy.snapshot, CopyState.HELD)
                await self.world.copies.report(copy.runner, receipt)

    async def to_the_copies(self) -> None:
        await self.step()
        await self.says(SessionState.STOPPED)
        await self.step()
        await self.take()
        await self.step()

    async def gone(self, runner: str) -> None:
        """That runner reports that it has erased the session."""
        eviction = await self.world.row(Eviction, f"{self.uid}.{runner}")
        assert eviction is not None
        await self.world.runners.report(runner, SessionReport(self.uid, eviction.epoch, 2, SessionState.DELETED))
