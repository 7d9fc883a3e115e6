from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import link_pb2
from netvps.api.v1 import metrics_pb2 as pb
from netvps.domain.metrics import MAX_MEASURED, MetricSample
from netvps.errors import InvalidInput
from netvps.rpc.convert.metrics import (
    MAX_NAMES,
    metrics_report_from_proto,
    metrics_request_from_proto,
    samples_from_proto,
    samples_to_proto,
    watch_from_proto,
)
from tests.rpc.convert import values


@given(st.lists(values.metric_samples, max_size=3))
def test_samples_come_back_as_they_were(samples: list[MetricSample]) -> None:
    assert samples_from_proto(samples_to_proto(samples)) == samples


def test_what_to_watch() -> None:
    names = ["sessions/dev1", "runners/lab1", "sessions/dev1", "sessions/dev2.ann"]
    assert watch_from_proto(pb.WatchMetricsRequest(names=names)) == (["dev1", "dev2.ann"], ["lab1"], "")
    assert watch_from_proto(pb.WatchMetricsRequest(parent="users/-")) == ([], [], "-")
    assert watch_from_proto(pb.WatchMetricsRequest()) == ([], [], "")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.WatchMetricsRequest(names=["users/x"]), r"names\[0\].*sessions/NAME"),
        (pb.WatchMetricsRequest(names=["sessions/a", "runners/X!"]), r"names\[1\]"),
        (pb.WatchMetricsRequest(names=["sessions/a"], parent="users/-"), "not both"),
        (pb.WatchMetricsRequest(names=["sessions/a"] * (MAX_NAMES + 1)), "more than 256"),
    ],
)
def test_what_cannot_be_watched_is_refused(request_: pb.WatchMetricsRequest, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        watch_from_proto(request_)


@pytest.mark.parametrize(
    "bad", [{"cpus": -1.0}, {"cpus": float("nan")}, {"received_rate": float("inf")}, {"memory_bytes": -1}]
)
def test_a_measurement_is_checked_where_it_comes_in(bad: dict[str, float]) -> None:
    (field,) = bad
    message = link_pb2.Measurement()
    setattr(message, field, bad[field])
    with pytest.raises(InvalidInput, match=field):
        metrics_report_from_proto(link_pb2.MetricsReport(measurements=[message]))


def test_a_request_and_a_report_are_bounded() -> None:
    with pytest.raises(InvalidInput, match="more than"):
        metrics_request_from_proto(link_pb2.MetricsRequest(session_uids=["x"] * (MAX_MEASURED + 1)))
    with pytest.raises(InvalidInput, match="more than"):
        metrics_report_from_proto(link_pb2.MetricsReport(measurements=[link_pb2.Measurement()] * (MAX_MEASURED + 2)))
