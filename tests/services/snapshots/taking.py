"""Sessions that run, and runners that take snapshots of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.domain.snapshot.snapshot import SnapshotDraft, SnapshotResult, SnapshotState
from tests.fakes.world import ALICE, HELLO

if TYPE_CHECKING:
    from netvps.domain.session.spec import SessionSpec
    from netvps.domain.snapshot.snapshot import RestoreResult, Snapshot
    from tests.fakes.world import World

TAKES = replace(HELLO, capabilities=("snapshots",))


async def running(world: World, name: str = "dev1", spec: SessionSpec | None = None) -> Session:
    """A session of Alice's that runs on lab1."""
    if not await world.rows(Runner):
        await world.runner("lab1", hello=TAKES)
    return await world.reported(await world.session(name, spec=spec), SessionState.RUNNING)


async def taken(world: World, snapshot_id: str) -> tuple[Session, Snapshot]:
    """A running session, and a READY snapshot of it."""
    session = await running(world)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft(snapshot_id))
    await ready(world, snapshot)
    return session, await world.snapshots.get(ALICE, "dev1", snapshot_id)


async def ready(world: World, snapshot: Snapshot) -> None:
    """Its runner reports that it has the snapshot."""
    session = await world.row(Session, snapshot.session)
    assert session is not None
    await report(world, session, SnapshotResult(snapshot.uid, SnapshotState.READY, size_bytes=7))


async def report(
    world: World, session: Session, *results: SnapshotResult, restore: RestoreResult | None = None
) -> None:
    """The session's runner reports these, and nothing else that is new."""
    row = await world.row(Session, session.uid)
    assert row is not None
    same = SessionReport(row.uid, row.epoch, row.generation, row.state, row.reason, row.message, row.address)
    await world.runners.report(row.runner, replace(same, snapshots=results, restore=restore))
