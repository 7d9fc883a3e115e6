from __future__ import annotations

import pytest

from netvps.api.v1 import mesh_pb2 as pb
from netvps.domain.tunnel import DialTarget, PortTarget, ResumableTarget, SshTarget, TcpTarget, UnixTarget
from netvps.errors import InvalidInput
from netvps.rpc.mesh.dial_start import start_from_proto, start_to_proto


@pytest.mark.parametrize(
    "target",
    [
        SshTarget(),
        TcpTarget("localhost:80"),
        UnixTarget("/run/x"),
        ResumableTarget("alice", b"\x00\xff"),
        PortTarget(8080),
        PortTarget(8080, counted=False),
    ],
)
def test_where_a_connection_leads_reads_back(target: DialTarget) -> None:
    assert start_from_proto(start_to_proto("uid", target, "alice@test")) == ("uid", target, "alice@test")


@pytest.mark.parametrize(
    "message", [pb.DialSessionRequest(), pb.DialSessionRequest(start=pb.DialSessionStart(session_uid="uid"))]
)
def test_a_connection_that_leads_nowhere_is_refused(message: pb.DialSessionRequest) -> None:
    with pytest.raises(InvalidInput, match="start"):
        start_from_proto(message)
