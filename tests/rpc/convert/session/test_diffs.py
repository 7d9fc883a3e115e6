"""Differences on the wire: netvps.rpc.convert.session.diffs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import snapshot_files_pb2 as pb
from netvps.domain.snapshot.diff import ChangeKind, Count, Diff, DiffScope, FolderChange, PathChange
from netvps.errors import InvalidInput
from netvps.rpc.convert.session.diffs import DiffSession, diff_from_proto, diff_request_from_proto, diff_to_proto

_sizes = st.integers(0, 1 << 60)
_counts = st.builds(Count, _sizes, _sizes)
_paths = st.builds(PathChange, st.text(max_size=9), st.sampled_from(ChangeKind), _sizes, st.booleans())
_folders = st.builds(FolderChange, st.text(max_size=9), _sizes, _sizes)
_diffs = st.builds(
    Diff,
    st.lists(_paths, max_size=3).map(tuple),
    st.lists(_folders, max_size=3).map(tuple),
    *[_counts] * 4,
    st.booleans(),
)


@given(_diffs)
def test_a_difference_survives_the_wire(diff: Diff) -> None:
    assert diff_from_proto(pb.DiffSessionResponse.FromString(diff_to_proto(diff).SerializeToString())) == diff


def test_a_request_is_parsed_with_all_its_violations() -> None:
    request = pb.DiffSessionRequest(name="sessions/dev1", from_snapshot_id="one", max_paths=9)
    assert diff_request_from_proto(request) == DiffSession("dev1", "one", "", DiffScope(9))
    bad = pb.DiffSessionRequest(name="dev1/x", from_snapshot_id="One", to_snapshot_id="-", max_paths=-1)
    with pytest.raises(InvalidInput) as failed:
        diff_request_from_proto(bad)
    assert {one.field for one in failed.value.violations} == {
        "name",
        "from_snapshot_id",
        "to_snapshot_id",
        "max_paths",
    }
