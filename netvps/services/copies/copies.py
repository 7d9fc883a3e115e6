"""Copies of snapshots: receipts and progress that runners report, and the copies that snapshots lack."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.snapshot.copies import Copy, CopyState, progress_words
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.errors import NetvpsError, NotFound
from netvps.services.copies.orders import is_new_damage, record, record_damage, replenish
from netvps.services.sessions.scheduler import place_waiting

if TYPE_CHECKING:
    from netvps.domain.snapshot.copies import CopyReport
    from netvps.domain.snapshot.snapshot import Holder
    from netvps.services.ports import Clock, Reader, Store

INTERVAL: Final = 2.0
"""Seconds between looks for snapshots that lack copies."""
_MAX_KNOWN: Final = 4096
log = structlog.get_logger()


class Copies:
    """Records what runners report about copies. `run` is a task of the program."""

    def __init__(self, store: Store, clock: Clock, interval: float = INTERVAL, *, default: int = 1) -> None:
        """`default` is the number of copies of snapshots for which none was chosen."""
        self._store = store
        self._clock = clock
        self._interval = interval
        self.default = default
        self._reports: dict[tuple[str, str], CopyReport] = {}
        """The latest of copies that are not held, by snapshot and runner. Not in the log, as it changes each second."""

    async def report(self, runner_uid: str, report: CopyReport) -> None:
        """Records a runner's report about a copy that it was ordered to make, or about damage of its own.

        Others change nothing.
        """
        key, now = f"{report.snapshot}.{runner_uid}", self._clock()
        async with self._store.read() as reader:
            copy = await reader.get(Copy, key)
            damaged = bool(report.damaged) and await is_new_damage(reader, report)
        self._note(runner_uid, report, copy)
        if copy is None and report.damaged != runner_uid:
            return
        if not damaged and (copy is None or report.state is CopyState.PENDING):
            return
        if not damaged and copy and report.state is CopyState.HELD and (copy.held or copy.drop):
            return
        async with self._store.write(f"runner:{runner_uid}", "runner.copy") as tx:
            if damaged:
                await record_damage(tx, report, runner_uid, now)
            copy = await tx.get(Copy, key)
            if copy is not None and await record(tx, copy, report, now):
                await place_waiting(tx, now)  # a clone may wait for a runner that holds it

    async def sources(self, runner_uid: str, session: str, snapshot_uid: str) -> tuple[Holder, ...]:
        """The other runners that hold a snapshot which this one was ordered to copy. Raises NotFound."""
        async with self._store.read() as reader:
            copy = await reader.get(Copy, f"{snapshot_uid}.{runner_uid}")
            snapshot = await reader.get(Snapshot, snapshot_uid)
        if copy is None or copy.drop or snapshot is None or snapshot.session != session:
            raise NotFound("this runner has no order to copy that snapshot: wait for the next one")
        return tuple(holder for holder in snapshot.usable if holder.runner != runner_uid)

    async def shown(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the progress of its copies as its message, if it lacks any."""
        if not snapshot.lacks:
            return snapshot
        async with self._store.read() as reader:
            pending = [copy for copy in await reader.find(Copy, snapshot=snapshot.uid) if not (copy.held or copy.drop)]
        words = [self._words(copy) for copy in pending]
        missing = snapshot.copies - len(snapshot.counted) - len(pending)
        if missing > 0:
            words.append(f"{missing} more wait for a runner that is online and has room")
        return replace(snapshot, message="; ".join(words))

    async def words(self, reader: Reader, session: str, runner: str) -> str:
        """How far the copies of a session's snapshots on a runner are, for people; '' if none is pending."""
        pending = [copy for copy in await reader.find(Copy, session=session, runner=runner) if not copy.held]
        return "; ".join(map(self._words, pending))

    async def replenish(self) -> None:
        """Orders copies for the snapshots that lack some."""
        async with self._store.read() as reader:
            lacking = await reader.find(Snapshot, lacks="copies")
        for snapshot in lacking:
            async with self._store.write("copies") as tx:
                latest = await tx.get(Snapshot, snapshot.uid)
                if latest is not None and latest.lacks:
                    await replenish(tx, latest, self._clock())

    async def run(self) -> None:
        """Looks for snapshots that lack copies, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.replenish()
            except NetvpsError as error:
                log.warning("cannot look for snapshots that lack copies; retrying", error=error.message)

    def _note(self, runner_uid: str, report: CopyReport, copy: Copy | None) -> None:
        key = report.snapshot, runner_uid
        self._reports.pop(key, None)
        if copy is not None and report.state is CopyState.PENDING:
            self._reports[key] = report
        while len(self._reports) > _MAX_KNOWN:
            del self._reports[next(iter(self._reports))]

    def _words(self, copy: Copy) -> str:
        report = self._reports.get((copy.snapshot, copy.runner))
        return progress_words(copy.runner_name, report) if report else f"copying to {copy.runner_name}: it is ordered"
