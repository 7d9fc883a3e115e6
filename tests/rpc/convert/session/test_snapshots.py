from __future__ import annotations

import pytest
from hypothesis import given

from netvps.api.v1 import snapshot_pb2
from netvps.domain.session.event import SnapshotEvent
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange
from netvps.errors import InvalidInput
from netvps.rpc.convert.runner.snapshots import order_from_proto
from netvps.rpc.convert.session.snapshot_requests import (
    clone_from_proto,
    create_snapshot_from_proto,
    delete_snapshot_from_proto,
    update_snapshot_from_proto,
)
from netvps.rpc.convert.session.snapshots import (
    change_to_proto,
    snapshot_event_from_proto,
    snapshot_event_to_proto,
    snapshot_from_proto,
    snapshot_to_proto,
)
from netvps.services.page import listed_bytes
from tests.rpc.convert import values


@given(values.snapshots)
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    wire = snapshot_to_proto(snapshot).SerializeToString()
    assert snapshot_from_proto(snapshot_pb2.SessionSnapshot.FromString(wire)) == snapshot
    assert len(wire) + 4 <= listed_bytes(snapshot)


@given(values.snapshot_events)
def test_an_event_comes_back_as_it_was(event: SnapshotEvent) -> None:
    assert snapshot_event_from_proto(snapshot_event_to_proto(event)) == event


def test_a_change_has_only_the_fields_of_its_mask() -> None:
    request = change_to_proto("dev1/one", SnapshotChange(pinned=False))
    assert list(request.update_mask.paths) == ["pinned"]
    assert update_snapshot_from_proto(request).change == SnapshotChange(pinned=False)


def test_all_that_is_wrong_with_a_request_is_named_at_once() -> None:
    request = snapshot_pb2.CreateSnapshotRequest(
        parent="dev1", snapshot_id="No", description="a\nb", labels={"-": "x"}, request_id="\x00"
    )
    with pytest.raises(InvalidInput) as error:
        create_snapshot_from_proto(request)
    fields = [violation.field for violation in error.value.violations]
    assert fields == ["parent", "snapshot_id", "description", "labels['-']", "request_id"]


@pytest.mark.parametrize("paths", [[], ["state"], ["description", "uid"]])
def test_only_some_fields_can_be_changed(paths: list[str]) -> None:
    request = snapshot_pb2.UpdateSnapshotRequest(
        snapshot=snapshot_pb2.SessionSnapshot(name="sessions/dev1/snapshots/one")
    )
    request.update_mask.paths.extend(paths)
    with pytest.raises(InvalidInput, match="update_mask"):
        update_snapshot_from_proto(request)


@pytest.mark.parametrize("name", ["", "dev1", "sessions/dev1", "sessions/dev1/snapshots/", "sessions/x/snapshots/A"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        delete_snapshot_from_proto(snapshot_pb2.DeleteSnapshotRequest(name=name))


def test_a_session_is_cloned_from_its_own_snapshots_only() -> None:
    request = snapshot_pb2.CloneSessionRequest(name="sessions/dev1", snapshot="sessions/dev2/snapshots/one")
    with pytest.raises(InvalidInput, match=r"snapshot: .* is not a snapshot of 'sessions/dev1'"):
        clone_from_proto(request)


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "x" * 13, "0123456789ab/"])
def test_a_uid_that_a_runner_makes_a_file_name_of_is_checked(uid: str) -> None:
    from netvps.api.v1 import link_snapshot_pb2

    if uid == "x" * 13:
        assert order_from_proto(link_snapshot_pb2.SnapshotOrder(snapshot_uid=uid)).uid == uid
        return
    with pytest.raises(InvalidInput):
        order_from_proto(link_snapshot_pb2.SnapshotOrder(snapshot_uid=uid))
