"""Over real connections, so of netvps.rpc.servicers.snapshots, too."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.event import EventType
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import NotFound, WrongState
from tests.rpc.site import ALICE, hello

if TYPE_CHECKING:
    from netvps.domain.snapshot.snapshot import Snapshot
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


async def _running(site: Site) -> Session:
    session = await site.running()
    await site.services.runners.online(session.runner, replace(hello(), capabilities=("snapshots",)))
    return session


async def test_snapshots_over_the_wire(site: Site) -> None:
    session = await _running(site)
    alice = await site.remote("alice")

    def take(client: Client) -> Snapshot:
        return client.create_snapshot("dev1", SnapshotDraft("one", "why", {"a": "b"}, pinned=True))

    snapshot = await site.do(take, alice)
    assert (snapshot.full_name, snapshot.state, snapshot.pinned) == ("dev1.alice/one", SnapshotState.CREATING, True)
    result = SnapshotResult(snapshot.uid, SnapshotState.READY, size_bytes=7, warnings=("no volumes",))
    report = SessionReport(session.uid, session.epoch, session.generation, SessionState.RUNNING, snapshots=(result,))
    await site.services.runners.report(session.runner, report)
    ready = await site.do(lambda client: client.get_snapshot("dev1", "one"), alice)
    assert (ready.state, ready.size_bytes, ready.warnings) == (SnapshotState.READY, 7, ("no volumes",))
    assert await site.do(lambda client: list(client.list_snapshots("dev1")), alice) == [ready]
    assert await site.do(lambda client: list(client.list_snapshots()), alice) == [ready]
    assert await site.do(lambda client: list(client.list_snapshots(parent="-"))) == [ready]
    events = await site.do(lambda client: list(islice(client.watch_snapshots("dev1"), 2)), alice)
    assert [(event.type, event.snapshot) for event in events] == [(EventType.PUT, ready), (EventType.CAUGHT_UP, None)]
    with pytest.raises(WrongState, match="is pinned"):
        await site.do(lambda client: client.delete_snapshot("dev1", "one"), alice)
    change = SnapshotChange(pinned=False, labels={})
    free = await site.do(lambda client: client.update_snapshot("dev1", "one", change), alice)
    assert (free.pinned, free.labels, free.description) == (False, {}, "why")


async def test_clones_and_restores_over_the_wire(site: Site) -> None:
    session = await _running(site)
    alice = await site.remote("alice")
    clone = await site.do(lambda client: client.clone_session("dev1", "dev2"), alice)
    assert clone.source is not None
    assert clone.source.name.startswith("dev1.alice/")
    (snapshot,) = (await site.services.snapshots.list(ALICE, session="dev1")).items
    result = SnapshotResult(snapshot.uid, SnapshotState.READY)
    report = SessionReport(session.uid, session.epoch, session.generation, SessionState.RUNNING, snapshots=(result,))
    await site.services.runners.report(session.runner, report)
    restored = await site.do(lambda client: client.restore_snapshot("dev1", snapshot.id), alice)
    assert restored.restore is not None
    assert restored.restore.snapshot == snapshot.uid
    with pytest.raises(NotFound, match="has no snapshot two"):
        await site.do(lambda client: client.delete_snapshot("dev1", "two"), alice)
