"""Copies of snapshots on further runners: orders, receipts, and which runners get one; pure.

    PENDING → HELD → (drop ordered) → gone

A copy is an order until its runner reports the receipt: all parts are complete, verified by digest, and on disk. The
receipt, and with it the runner among the holders of the snapshot, is recorded in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotState

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner

_NAMED: Final = 3
"""Maximum number of runners named in a message."""


class CopyPart(StrEnum):
    """A part of a snapshot; the values are those of the API."""

    NOTE = "NOTE"
    FILES = "FILES"
    IMAGE = "IMAGE"


class CopyState(StrEnum):
    """How far a copy is; the values are those of the API."""

    PENDING = "PENDING"
    HELD = "HELD"
    GONE = "GONE"


@dataclass(frozen=True, slots=True)
class Copy:
    """The order that a runner holds a snapshot, or no longer does, as stored."""

    kind: ClassVar[str] = "copy"

    snapshot: str
    """Uid."""
    session: str
    """Uid."""
    runner: str
    """Uid."""
    runner_name: str
    create_time: datetime
    held: bool = False
    """Its receipt is recorded."""
    drop: bool = False
    urgent: bool = False
    """Someone waits for it, as its session moves."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return f"{self.snapshot}.{self.runner}"


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """The desired state of a runner's copy of a snapshot."""

    session: str
    snapshot: str
    drop: bool = False
    urgent: bool = False
    """Its transfer takes all of disk and network that it can get."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What became of an order. Rates are in bytes a second."""

    session: str
    snapshot: str
    state: CopyState
    message: str = ""
    """Why it does not go on."""
    done_bytes: int = 0
    total_bytes: int = 0
    rate: int = 0
    damaged: str = ""
    """Uid of the runner whose files did not match their digest."""


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """A request for a part of a snapshot, to be answered on the stream with this id."""

    stream_id: str
    session: str
    snapshot: str
    part: CopyPart
    offset: int = 0


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A part to transfer: its size, and how much of it has arrived before, in bytes."""

    part: CopyPart
    size: int
    have: int


def order_of(copy: Copy) -> CopyOrder:
    """The copy as its runner needs it."""
    return CopyOrder(copy.session, copy.snapshot, copy.drop, copy.urgent)


def received(snapshot: Snapshot, holder: Holder, now: datetime) -> Snapshot:
    """The snapshot with a holder whose receipt has arrived; the same object if that changes nothing."""
    if snapshot.state is not SnapshotState.READY or holder in snapshot.holders:
        return snapshot
    others = tuple(one for one in snapshot.holders if one.runner != holder.runner)
    return replace(snapshot, holders=(*others, holder), update_time=now)


def leaving(snapshot: Snapshot, runner: str, now: datetime) -> Snapshot:
    """The snapshot once its session has left one of its holders; the same object if that is none."""
    holders = tuple(replace(one, leaving=True) if one.runner == runner else one for one in snapshot.holders)
    return snapshot if holders == snapshot.holders else replace(snapshot, holders=holders, update_time=now)


def without_holder(snapshot: Snapshot, runner: str, now: datetime) -> Snapshot:
    """The snapshot without a holder; the same object if it is none. It FAILED if that was the last one."""
    left = tuple(one for one in snapshot.holders if one.runner != runner)
    if left == snapshot.holders:
        return snapshot
    return _failed_without_holders(replace(snapshot, holders=left, update_time=now))


def damaged_at(snapshot: Snapshot, runner: str, now: datetime) -> Snapshot:
    """The snapshot after a holder's files were found damaged. It FAILED with data_loss if no other one has it."""
    if runner not in {one.runner for one in snapshot.usable}:
        return snapshot
    holders = tuple(replace(one, damaged=True) if one.runner == runner else one for one in snapshot.holders)
    return _failed_without_holders(replace(snapshot, holders=holders, update_time=now))


def next_holders(snapshot: Snapshot, orders: Collection[Copy], runners: Iterable[Runner]) -> list[Runner]:
    """The runners that are to get a copy, so that there are as many as wanted: those with the most free space."""
    missing = snapshot.copies - len(snapshot.counted) - sum(not (one.held or one.drop) for one in orders)
    if snapshot.state is not SnapshotState.READY or not snapshot.usable or missing <= 0:
        return []
    return eligible(snapshot, orders, runners)[:missing]


def eligible(snapshot: Snapshot, orders: Collection[Copy], runners: Iterable[Runner]) -> list[Runner]:
    """The runners that could get a copy now, the best first."""
    engaged = {one.runner for one in snapshot.holders} | {one.runner for one in orders}
    able = (
        runner for runner in runners if runner.uid not in engaged and runner.can_hold_copies and not runner.cordoned
    )
    return sorted(able, key=lambda runner: (-runner.capacity.disk_free_bytes, runner.name))


def too_many(snapshot: Snapshot, orders: Collection[Copy]) -> list[Copy]:
    """The copies to drop where fewer are wanted than there are: damaged ones, then pending ones, then the latest."""
    usable = {one.runner for one in snapshot.usable}
    counted = {one.runner for one in snapshot.counted}
    ordered = [one for one in orders if not one.drop]
    damaged = [one for one in ordered if one.held and one.runner not in usable]
    others = [one for one in ordered if one not in damaged and (not one.held or one.runner in counted)]
    others.sort(key=lambda one: (one.held, -one.create_time.timestamp()))
    count = len(counted) + sum(not one.held for one in others)
    return [*damaged, *others[: max(count - snapshot.copies, 0)]]


def why_not_so_many(snapshot: Snapshot, copies: int, runners: Collection[Runner]) -> str:
    """Why there cannot be so many copies, whatever is online; '' if there can."""
    holding = {one.runner for one in snapshot.counted}
    able = sorted(runner.name for runner in runners if runner.uid in holding or runner.may_hold_copies)
    if copies <= len(able):
        return ""
    names = ", ".join([*able[:_NAMED], *(f"{len(able) - _NAMED} more" for _ in able[_NAMED : _NAMED + 1])])
    return (
        f"{copies} copies need as many runners, and {len(able)} can hold one ({names}): add a runner, or ask for "
        "fewer copies"
    )


def progress_words(runner_name: str, report: CopyReport) -> str:
    """How far a transfer is, for people."""
    if report.message:
        return f"copying to {runner_name}: {report.message}"
    if not report.total_bytes:
        return f"copying to {runner_name}"
    left = report.total_bytes - report.done_bytes
    eta = f", {left / report.rate:.0f} s left" if report.rate and left else ""
    return f"copying to {runner_name}: {_mib(report.done_bytes)} of {_mib(report.total_bytes)}{eta}"


def _failed_without_holders(snapshot: Snapshot) -> Snapshot:
    if snapshot.usable or snapshot.state is not SnapshotState.READY:
        return snapshot
    names = ", ".join(one.name for one in snapshot.holders)
    why = f"its files are damaged on {names}, and" if names else "the runner that held it was removed, and"
    message = f"{why} no other runner holds them: choose another snapshot"
    return replace(snapshot, state=SnapshotState.FAILED, reason="data_loss", message=message)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
