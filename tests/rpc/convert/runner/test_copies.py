from __future__ import annotations

import pytest

from netvps.api.v1 import copy_pb2 as pb
from netvps.errors import InvalidInput
from netvps.rpc.convert.runner.copies import copy_order_from_proto, copy_report_from_proto, copy_request_from_proto

UID = "0000000000001"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.ReadCopyRequest(session_uid="../x", snapshot_uid=UID, part=pb.COPY_PART_NOTE), "session_uid"),
        (pb.ReadCopyRequest(session_uid=UID, snapshot_uid=UID), "part"),
        (pb.CopyRequest(session_uid=UID, snapshot_uid=UID, part=pb.COPY_PART_FILES, offset=-1), "offset"),
    ],
)
def test_a_request_is_checked_where_it_comes_in(message: pb.ReadCopyRequest | pb.CopyRequest, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        copy_request_from_proto(message)


def test_names_of_files_are_uids() -> None:
    with pytest.raises(InvalidInput, match="snapshot_uid"):
        copy_order_from_proto(pb.CopyOrder(session_uid=UID, snapshot_uid="a/b"))
    with pytest.raises(InvalidInput, match="damaged_runner_uid"):
        copy_report_from_proto(
            pb.CopyReport(session_uid=UID, snapshot_uid=UID, state=pb.COPY_STATE_HELD, damaged_runner_uid="a/b")
        )
