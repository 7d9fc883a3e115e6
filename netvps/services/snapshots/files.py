"""Use cases with the files of snapshots, for which a runner has to be connected: differences, export, import."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.names import SessionName
from netvps.domain.runner.runner import BROWSING, SNAPSHOT_FILES, Runner, RunnerState
from netvps.domain.session.session import Session
from netvps.domain.snapshot.browse import MAX_BROWSED
from netvps.domain.snapshot.diff import Diff, DiffOrder, DiffScope
from netvps.domain.snapshot.exchange import BrowsedSnapshot, BrowseOrder, ExportOrder, ImportOrder
from netvps.domain.snapshot.orders import order_snapshot
from netvps.domain.snapshot.snapshot import (
    Holder,
    Snapshot,
    SnapshotCause,
    SnapshotOrder,
    SnapshotResult,
    SnapshotState,
    ready,
)
from netvps.errors import InternalError, TimedOut, Unavailable, WrongState
from netvps.services.page import read_all
from netvps.services.sessions.scope import find_session
from netvps.services.snapshots.snapshots import find_snapshot, require_ready
from netvps.services.snapshots.take import Limits, require_room, take_snapshot
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from netvps.domain.access.accounts import Caller
    from netvps.domain.snapshot.snapshot import SnapshotDraft
    from netvps.services.ports import Clock, FilesCarrier, FilesExchange, Reader, Store

IMPORT_SECONDS: Final = 3600.0


class SnapshotFiles:
    """Compares, exports and imports. `carrier` connects to the session's runner."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str], limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._limits = limits

    async def diff(
        self,
        caller: Caller,
        session: str,
        carrier: FilesCarrier,
        *,
        from_id: str = "",
        to_id: str = "",
        scope: DiffScope | None = None,
    ) -> Diff:
        """What differs from a snapshot ('': the image) to another ('': the present state).

        Raises NotFound, WrongState, Unavailable, Exhausted.
        """
        name = SessionName.parse(session, caller.user)
        async with self._store.read() as reader:
            found = await find_session(reader, caller, name)
            await _require_runner(reader, found)
            uids = ["", ""]
            for index, snapshot_id in enumerate((from_id, to_id)):
                if snapshot_id:
                    _, snapshot = await find_snapshot(reader, caller, name, snapshot_id)
                    require_ready(found, snapshot)
                    uids[index] = snapshot.uid
        excluded = () if to_id else found.spec.snapshot_policy.excluded_paths
        order = DiffOrder(uids[0], uids[1], scope or DiffScope(), excluded)
        async with carrier.open(found.runner, found.uid, order, user=caller.user) as exchange:
            async for answer in exchange.answers():
                if isinstance(answer, Diff):
                    return answer
        raise InternalError(f"the runner {found.runner_name} compared nothing: see its log")

    async def export(
        self, caller: Caller, session: str, snapshot_id: str, carrier: FilesCarrier
    ) -> AsyncIterator[bytes]:
        """Yields a snapshot as a portable archive, in pieces of at most 64 KiB.

        Raises NotFound, WrongState, Unavailable, and DataLoss if it is damaged: then what came must not be used.
        """
        name = SessionName.parse(session, caller.user)
        async with self._store.read() as reader:
            found, snapshot = await find_snapshot(reader, caller, name, snapshot_id)
            require_ready(found, snapshot)
            await _require_runner(reader, found)
        order = ExportOrder(snapshot.uid, snapshot.id, str(found.full_name))
        async with carrier.open(found.runner, found.uid, order, user=caller.user) as exchange:
            async for answer in exchange.answers():
                if isinstance(answer, bytes):
                    yield answer

    async def take_in(
        self, caller: Caller, session: str, draft: SnapshotDraft, pieces: AsyncIterator[bytes], carrier: FilesCarrier
    ) -> Snapshot:
        """Makes a snapshot of a session from the pieces of a portable archive; READY, or nothing is left of it.

        Raises InvalidInput if it is no such archive or not a safe one, DataLoss if it is damaged, TimedOut, and as
        `Snapshots.create`.
        """
        snapshot, runner = await self._begin(caller, session, draft)
        try:
            order = ImportOrder(snapshot.uid)
            async with asyncio.timeout(IMPORT_SECONDS):
                async with carrier.open(runner, snapshot.session, order, user=caller.user) as exchange:
                    result = await _transfer(exchange, pieces)
            return await self._finish(snapshot, result)
        except BaseException as error:
            await self._abandon(snapshot)
            if isinstance(error, TimeoutError):
                raise TimedOut(f"the import took longer than {IMPORT_SECONDS:.0f} s, and was given up") from None
            raise

    @asynccontextmanager
    async def browse(
        self, caller: Caller, session: str, incoming: AsyncIterator[bytes], carrier: FilesCarrier
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answers of an SFTP server that shows the session's snapshots, to what comes in; it ends with the block.

        Raises NotFound, WrongState, Unavailable, Exhausted.
        """
        name = SessionName.parse(session, caller.user)
        async with self._store.read() as reader:
            found = await find_session(reader, caller, name)
            await _require_runner(reader, found, BROWSING)
            snapshots = await read_all(reader, Snapshot, session=found.uid)
        here = [
            BrowsedSnapshot(one.uid, one.id, int(one.create_time.timestamp()))
            for one in snapshots
            if one.state is SnapshotState.READY and any(holder.runner == found.runner for holder in one.usable)
        ]
        order = BrowseOrder(tuple(here[-MAX_BROWSED:]))
        async with carrier.open(found.runner, found.uid, order, user=caller.user) as exchange, Tasks() as tasks:
            tasks.start(_send(exchange, incoming), name=f"sftp of snapshots of {found.full_name}")
            yield (answer async for answer in exchange.answers() if isinstance(answer, bytes))

    async def abandon_stale(self) -> None:
        """Removes what is left of imports that no server carries any more. To be called now and then."""
        async with self._store.read() as reader:
            creating = await read_all(reader, Snapshot, state=SnapshotState.CREATING)
        begun = self._clock() - timedelta(seconds=2 * IMPORT_SECONDS)
        for snapshot in creating:
            if snapshot.cause is SnapshotCause.IMPORT and snapshot.create_time < begun:
                await self._abandon(snapshot)

    async def _begin(self, caller: Caller, session: str, draft: SnapshotDraft) -> tuple[Snapshot, str]:
        """Records the snapshot, which is CREATING without an order; returns it with its runner's uid."""
        name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user) as tx:
            found = await find_session(tx, caller, name)
            await _require_runner(tx, found)
            await require_room(tx, found, self._limits)
            _, snapshot = await take_snapshot(
                tx,
                found,
                draft,
                SnapshotCause.IMPORT,
                uid=self._new_uid(),
                now=now,
                copies=self._limits.copies,
            )
            return await tx.put(replace(snapshot, message="being imported")), found.runner

    async def _finish(self, snapshot: Snapshot, result: SnapshotResult) -> Snapshot:
        async with self._store.write("import") as tx:
            row = await tx.get(Snapshot, snapshot.uid)
            session = await tx.get(Session, snapshot.session)
            if row is None or row.state is not SnapshotState.CREATING or session is None:
                raise WrongState(f"snapshot {snapshot.full_name} was deleted while it was imported")
            return await tx.put(ready(row, result, Holder(session.runner, session.runner_name), self._clock()))

    async def _abandon(self, snapshot: Snapshot) -> None:
        """Removes the record of an import, and orders that its runner removes what it has of it."""
        async with self._store.write("import") as tx:
            row = await tx.get(Snapshot, snapshot.uid)
            if row is not None and row.state is SnapshotState.READY:
                return
            if row is not None and row.state is SnapshotState.CREATING:
                await tx.delete(row)
            session = await tx.get(Session, snapshot.session)
            if session is not None:
                await tx.put(order_snapshot(session, SnapshotOrder(snapshot.uid, delete=True), self._clock()))


async def _send(exchange: FilesExchange, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await exchange.send(piece)
    await exchange.send(None)


async def _transfer(exchange: FilesExchange, pieces: AsyncIterator[bytes]) -> SnapshotResult:
    """Sends the pieces until the runner has an outcome, which may be before their end. Raises its error."""
    try:
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(_send(exchange, pieces))
            async for answer in exchange.answers():
                if isinstance(answer, SnapshotResult):
                    sender.cancel()
                    return answer
            raise InternalError("the runner imported nothing: see its log")
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _require_runner(reader: Reader, session: Session, capability: str = SNAPSHOT_FILES) -> None:
    """Raises WrongState or Unavailable unless the session's runner can work with its files now."""
    runner = await reader.get(Runner, session.runner) if session.runner else None
    if runner is None:
        raise WrongState(f"session {session.full_name} has no files yet, as no runner has it: wait until it runs")
    if capability not in runner.capabilities:
        raise WrongState(
            f"the runner {runner.name} of session {session.full_name} cannot do this with its version "
            f"{runner.version or 'unknown'}: upgrade it"
        )
    if runner.state is not RunnerState.ONLINE:
        raise Unavailable(
            f"the runner {runner.name} of session {session.full_name} is offline: try again when it is back"
        )
