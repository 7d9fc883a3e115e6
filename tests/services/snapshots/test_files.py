"""Work with the files of snapshots, for which a runner has to be connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import Session
from netvps.domain.snapshot.diff import Diff, DiffOrder, DiffScope
from netvps.domain.snapshot.exchange import BrowsedSnapshot, BrowseOrder, ExportOrder, ImportOrder
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import AlreadyExists, DataLoss, InternalError, InvalidInput, NotFound, Unavailable, WrongState
from netvps.services.snapshots.files import IMPORT_SECONDS, SnapshotFiles
from netvps.services.snapshots.take import Limits
from tests.fakes.world import ALICE, BOB, HELLO
from tests.services.snapshots.taking import ready, running, taken

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.domain.snapshot.exchange import FilesAnswer, FilesWork
    from tests.fakes.clock import FakeClock
    from tests.fakes.world import World

ABLE = replace(HELLO, capabilities=("snapshots", "snapshot_files"))


@dataclass
class Carrier:
    """A runner that gives these answers; it notes what it was asked and sent."""

    says: list[FilesAnswer] = field(default_factory=list)
    asked: list[FilesWork] = field(default_factory=list)
    sent: list[bytes | None] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, runner_uid: str, session_uid: str, work: FilesWork, *, user: str) -> AsyncIterator[Carrier]:
        self.asked.append(work)
        yield self

    async def answers(self) -> AsyncIterator[FilesAnswer]:
        for answer in self.says:
            yield answer

    async def send(self, data: bytes | None) -> None:
        self.sent.append(data)


def _files(world: World) -> SnapshotFiles:
    return SnapshotFiles(world.store, world.clock, world.new_uid, Limits(3, 3))


async def _able(world: World) -> None:
    (session,) = await world.rows(Session) or [await running(world)]
    await world.runners.online(session.runner, ABLE)


async def test_a_difference_is_made_by_the_sessions_runner(world: World) -> None:
    _, snapshot = await taken(world, "one")
    await _able(world)
    files, carrier = _files(world), Carrier([Diff(incomplete=True)])
    assert await files.diff(ALICE, "dev1", carrier, from_id="one", scope=DiffScope(7)) == Diff(incomplete=True)
    assert carrier.asked == [DiffOrder(snapshot.uid, "", DiffScope(7))]
    with pytest.raises(InternalError, match="compared nothing"):
        await files.diff(ALICE, "dev1", Carrier())


async def test_what_cannot_be_compared_is_refused_by_name(world: World) -> None:
    session = await running(world)
    files, carrier = _files(world), Carrier([Diff()])
    with pytest.raises(WrongState, match="upgrade it"):
        await files.diff(ALICE, "dev1", carrier)
    await world.runners.online(session.runner, ABLE)
    with pytest.raises(NotFound, match="has no snapshot two"):
        await files.diff(ALICE, "dev1", carrier, to_id="two")
    with pytest.raises(NotFound):
        await files.diff(BOB, "dev1.alice", carrier)
    snapshot = await world.snapshots.create(ALICE, "dev1", SnapshotDraft("new"))
    with pytest.raises(WrongState, match="is CREATING, not READY"):
        await files.diff(ALICE, "dev1", carrier, to_id="new")
    await ready(world, snapshot)
    await world.runners.offline(session.runner)
    with pytest.raises(Unavailable, match="is offline"):
        await files.diff(ALICE, "dev1", carrier, to_id="new")
    assert carrier.asked == []


async def _pieces(*found: bytes) -> AsyncIterator[bytes]:
    for piece in found:
        yield piece


async def test_an_export_yields_what_the_runner_sends(world: World) -> None:
    _, snapshot = await taken(world, "one")
    await _able(world)
    carrier = Carrier([b"a", b"b"])
    found = [piece async for piece in _files(world).export(ALICE, "dev1", "one", carrier)]
    assert found == [b"a", b"b"]
    assert carrier.asked == [ExportOrder(snapshot.uid, "one", "dev1.alice")]


async def test_the_snapshots_that_are_ready_are_shown(world: World) -> None:
    session, snapshot = await taken(world, "one")
    files, carrier = _files(world), Carrier([b"answer"])

    async def requests() -> AsyncIterator[bytes]:
        yield b"request"

    async def shown(caller: Caller) -> list[bytes]:
        async with files.browse(caller, "dev1.alice", requests(), carrier) as answers:
            return [answer async for answer in answers]

    await _able(world)
    with pytest.raises(WrongState, match="upgrade it"):
        await shown(ALICE)
    await world.runners.online(session.runner, replace(ABLE, capabilities=("snapshots", "browsing")))
    await world.snapshots.create(ALICE, "dev1", SnapshotDraft("new"))
    with pytest.raises(NotFound):
        await shown(BOB)
    assert carrier.asked == []
    assert await shown(ALICE) == [b"answer"]
    taken_at = int(snapshot.create_time.timestamp())
    assert carrier.asked == [BrowseOrder((BrowsedSnapshot(snapshot.uid, "one", taken_at),))]


async def test_an_import_is_a_snapshot_once_its_runner_has_it(world: World) -> None:
    await _able(world)
    files = _files(world)

    class Takes(Carrier):
        async def answers(self) -> AsyncIterator[FilesAnswer]:
            while None not in self.sent:
                await asyncio.sleep(0)
            (order,) = self.asked
            assert isinstance(order, ImportOrder)
            yield SnapshotResult(order.snapshot_uid, SnapshotState.READY, size_bytes=5, digest="sha256:x")

    carrier = Takes()
    made = await files.take_in(ALICE, "dev1", SnapshotDraft("in", "from afar"), _pieces(b"x", b"y"), carrier)
    assert (made.state, made.cause, made.size_bytes, made.automatic) == ("READY", "IMPORT", 5, False)
    assert carrier.sent == [b"x", b"y", None]
    assert await world.snapshots.get(ALICE, "dev1", "in") == made
    with pytest.raises(AlreadyExists):
        await files.take_in(ALICE, "dev1", SnapshotDraft("in"), _pieces(), carrier)


class Refuses(Carrier):
    """A runner that refuses the archive at its first piece."""

    async def answers(self) -> AsyncIterator[FilesAnswer]:
        while not self.sent:
            await asyncio.sleep(0)
        raise DataLoss("damaged")
        yield b""  # type: ignore[unreachable]


async def test_nothing_is_left_of_an_import_that_fails(world: World) -> None:
    await _able(world)
    files = _files(world)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b"x"

    with pytest.raises(DataLoss, match="damaged"):
        await files.take_in(ALICE, "dev1", SnapshotDraft("in"), endless(), Refuses())
    assert await world.rows(Snapshot) == []
    (session,) = await world.rows(Session)
    assert [order.delete for order in session.snapshot_orders] == [True]  # its runner removes what it has

    async def bad() -> AsyncIterator[bytes]:
        raise InvalidInput.of("data", "too large")
        yield b""  # type: ignore[unreachable]

    with pytest.raises(InvalidInput, match="too large"):
        await files.take_in(ALICE, "dev1", SnapshotDraft("in"), bad(), Waits())
    assert await world.rows(Snapshot) == []


class Waits(Carrier):
    """A runner that says nothing."""

    async def answers(self) -> AsyncIterator[FilesAnswer]:
        await asyncio.Event().wait()
        yield b""


async def test_an_import_that_no_server_carries_any_more_is_abandoned(world: World, clock: FakeClock) -> None:
    await _able(world)
    files = _files(world)
    server = asyncio.create_task(files.take_in(ALICE, "dev1", SnapshotDraft("in"), _pieces(), Waits()))
    while not await world.rows(Snapshot):
        await asyncio.sleep(0)
    await files.abandon_stale()
    assert len(await world.rows(Snapshot)) == 1
    clock.advance(seconds=2 * IMPORT_SECONDS + 1)
    await files.abandon_stale()
    assert await world.rows(Snapshot) == []
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server
