"""The snapshots of a session: each key, and what it asks the server for.

So it is the test of netvps_tui.dialogs.snapshot, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.session.session import SessionReport
from netvps.domain.snapshot.snapshot import SnapshotResult, SnapshotState
from tests.rpc.site import ROOT
from tests.tui.conftest import started

if TYPE_CHECKING:
    from netvps.domain.snapshot.snapshot import Snapshot
    from tests.rpc.site import Site
    from tests.tui.conftest import Running


async def snapshots(tui: Running) -> list[Snapshot]:
    return [one async for one in tui.app.client.list_snapshots("api")]


async def result(tui: Running, snapshot: Snapshot, state: SnapshotState, message: str = "") -> None:
    """The runner says what became of it."""
    session = await tui.site.services.sessions.get(ROOT, "api")
    done = (SnapshotResult(snapshot.uid, state, message=message, size_bytes=7 << 20),)
    report = SessionReport(session.uid, session.epoch, session.generation, session.state, snapshots=done)
    await tui.site.services.runners.report(session.runner, report)


async def test_take_pin_clone_restore_and_delete(tui: Running) -> None:
    await tui.press("p")
    await tui.shows("no snapshots yet", "n takes one", "$ netvps snapshot create api")
    await tui.press("n")
    await tui.shows("Snapshot of api", "It goes on running.")
    await tui.type("before")
    await tui.press("enter")
    await tui.shows("1 snapshot", "before", "◔ CREATING", "$ netvps snapshot restore api before")
    (snapshot,) = await snapshots(tui)
    await result(tui, snapshot, SnapshotState.READY)
    await tui.shows("● READY", "7M", "request")
    await tui.press("P")
    await tui.shows("pinned")
    await tui.press("P")
    await tui.until(lambda: "pinned" not in tui.text)

    await tui.press("enter")
    await tui.shows("Restore api?", "The present ones become a")
    await tui.type("ap")
    await tui.press("enter")
    await tui.shows("that is not api; nothing was restored")
    await tui.press("escape")

    await tui.press("c")
    await tui.shows("Clone api", "with the files of before", "--snapshot before")
    await tui.type("api2")
    await tui.press("enter")
    await tui.until(lambda: tui.current == "api2")
    await tui.shows("5 sessions")


async def test_delete_wants_the_name_typed(tui: Running) -> None:
    from netvps.client import SnapshotDraft

    snapshot = await tui.app.client.create_snapshot("api", SnapshotDraft("old"))
    await result(tui, snapshot, SnapshotState.FAILED, "the disk is full")
    await tui.press("p")
    await tui.shows("✗ FAILED", "the disk is full")
    await tui.press("d")
    await tui.shows("Delete old?")
    await tui.press("x", "enter")
    await tui.shows("that is not old; nothing was deleted")
    await tui.press("backspace")
    await tui.type("old")
    await tui.press("enter")
    await tui.shows("◕ DELETING")
    await result(tui, snapshot, SnapshotState.DELETING)
    await tui.shows("no snapshots yet")


async def test_read_only_has_no_keys_that_change(site: Site) -> None:
    async with started(site, read_only=True) as tui:
        await tui.press("p")
        await tui.shows("no snapshots yet")
        await tui.press("n", "c", "d", "P", "enter")
        assert not tui.app.screen.is_modal
