"""Waits until a snapshot is as it was asked to be."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from netvps.display.units import duration_words
from netvps.domain.session.event import EventType
from netvps.domain.snapshot.snapshot import SnapshotState
from netvps.errors import Exhausted, TimedOut, Unavailable, WrongState
from netvps.exit_codes import Cancelled

_POLL_SECONDS = 0.3

if TYPE_CHECKING:
    from netvps.client import Client
    from netvps.domain.snapshot.snapshot import Snapshot


def until_at_rest(connection: Client, snapshot: Snapshot, timeout: float) -> Snapshot | None:
    """The snapshot once it is READY or FAILED; None once it is gone. `timeout` is in seconds.

    Raises TimedOut, Cancelled, or what ended the events.
    """
    deadline = time.monotonic() + timeout
    session = f"{snapshot.session_name}.{snapshot.owner}"
    try:
        while (left := deadline - time.monotonic()) > 0:
            with closing(connection.watch_snapshots(session, timeout=left)) as events:
                listed = False
                for event in events:
                    latest = event.snapshot
                    if latest is not None and latest.uid == snapshot.uid:
                        listed = True
                        if event.type is EventType.DELETED:
                            return None
                        if latest.state in {SnapshotState.READY, SnapshotState.FAILED}:
                            return latest
                    elif event.type is EventType.CAUGHT_UP and not listed:
                        return None
    except TimedOut:
        pass
    except KeyboardInterrupt:
        raise Cancelled(
            f"stopped waiting; snapshot {snapshot.full_name} goes on in the background: see `netvps snapshot ls`"
        ) from None
    raise TimedOut(
        f"--timeout {duration_words(timeout)} is over and snapshot {snapshot.full_name} is not done; it goes on in the "
        f"background: see `netvps snapshot ls {snapshot.session_name}`"
    )


def until_copied(connection: Client, snapshot: Snapshot, timeout: float) -> Snapshot:
    """The snapshot once as many runners hold it as should; shows how far that is. `timeout` is in seconds.

    Raises TimedOut, Cancelled, and WrongState if it is lost.
    """
    from netvps.cli.ui.progress import progress

    deadline = time.monotonic() + timeout
    session = f"{snapshot.session_name}.{snapshot.owner}"
    held = f"{len(snapshot.counted)}/{snapshot.copies}"
    try:
        with progress() as shown:
            while time.monotonic() < deadline:
                latest = connection.get_snapshot(session, snapshot.id)
                if latest.state is SnapshotState.FAILED:
                    raise WrongState(f"snapshot {latest.full_name} is lost: {latest.message}")
                if latest.state is SnapshotState.READY and not latest.lacks:
                    return latest
                held = f"{len(latest.counted)}/{latest.copies}"
                shown.show(f"snapshot {latest.full_name}: {held} copies; {latest.message}")
                shown.tick()
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        raise Cancelled(
            f"stopped waiting; snapshot {snapshot.full_name} is copied in the background: see `netvps snapshot ls`"
        ) from None
    raise TimedOut(
        f"--timeout {duration_words(timeout)} is over and snapshot {snapshot.full_name} has {held} copies; it goes on "
        f"in the background: see `netvps snapshot show {snapshot.session_name} {snapshot.id}`"
    )


def copies_words(snapshot: Snapshot) -> str:
    """How many of its copies a snapshot has, "1/2", and '' while it has none."""
    return f"{len(snapshot.counted)}/{snapshot.copies}" if snapshot.holders else ""


def require_ready(snapshot: Snapshot | None, called: str) -> Snapshot:
    """The snapshot. Raises the error that fits one that failed or is gone."""
    if snapshot is None:
        raise Unavailable(f"snapshot {called} was deleted meanwhile")
    if snapshot.state is SnapshotState.FAILED:
        kind = Exhausted if snapshot.reason == "disk" else WrongState
        raise kind(
            f"snapshot {called} failed: {snapshot.message}; the session is not affected. Delete it, and take another"
        )
    return snapshot
