from __future__ import annotations

import pytest
from hypothesis import given

from netvps.api.v1 import link_pb2 as pb
from netvps.domain.overlay.peer_health import MAX_PROBED, ProbeReport, ProbeRequest
from netvps.errors import InvalidInput
from netvps.rpc.convert.runner.probes import (
    probe_report_from_proto,
    probe_report_to_proto,
    probe_request_from_proto,
    probe_request_to_proto,
)
from tests.rpc.convert import values


@given(values.probe_requests)
def test_a_request_comes_back_as_it_was(request: ProbeRequest) -> None:
    assert probe_request_from_proto(probe_request_to_proto(request)) == request


@given(values.probe_reports)
def test_a_report_comes_back_as_it_was(report: ProbeReport) -> None:
    assert probe_report_from_proto(probe_report_to_proto(report)) == report


def test_neither_may_be_of_more_links_than_one_can_probe_at_once() -> None:
    with pytest.raises(InvalidInput, match="257 are more than 256"):
        probe_request_from_proto(pb.ProbeRequest(peer_uids=["x"] * (MAX_PROBED + 1)))
    with pytest.raises(InvalidInput, match="257 are more than 256"):
        probe_report_from_proto(pb.ProbeReport(links=[pb.LinkReport()] * (MAX_PROBED + 1)))


def test_what_people_get_to_read_is_cut() -> None:
    reported = pb.ProbeReport(links=[pb.LinkReport(state=pb.LINK_STATE_DOWN, message="x" * 1000)])
    assert len(probe_report_from_proto(reported).links[0].message) == 500
