"""Metrics: what runners measure, and what users watch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from netvps.api.v1 import link_pb2
from netvps.api.v1 import metrics_pb2 as pb
from netvps.domain.metrics import MAX_MEASURED, Measurement, MetricSample, MetricsReport, MetricsRequest
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.texts import word
from netvps.rpc.convert.times import time_from_proto, time_to_proto

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAMES: Final = 256


def metrics_request_to_proto(request: MetricsRequest) -> link_pb2.MetricsRequest:
    """Converts all fields."""
    return link_pb2.MetricsRequest(session_uids=sorted(request.session_uids), machine=request.machine)


def metrics_request_from_proto(message: link_pb2.MetricsRequest) -> MetricsRequest:
    """Parses a request. Raises InvalidInput."""
    if len(message.session_uids) > MAX_MEASURED:
        raise InvalidInput.of("session_uids", f"{len(message.session_uids)} are more than {MAX_MEASURED}")
    return MetricsRequest(frozenset(message.session_uids), message.machine)


def metrics_report_to_proto(report: MetricsReport) -> link_pb2.MetricsReport:
    """Converts all fields."""
    measurements = [
        link_pb2.Measurement(
            session_uid=uid,
            cpus=measured.cpus,
            memory_bytes=measured.memory_bytes,
            received_rate=measured.received_rate,
            sent_rate=measured.sent_rate,
        )
        for uid, measured in report.measurements.items()
    ]
    return link_pb2.MetricsReport(measurements=measurements)


def metrics_report_from_proto(message: link_pb2.MetricsReport) -> MetricsReport:
    """Parses a report. Raises InvalidInput."""
    if len(message.measurements) > MAX_MEASURED + 1:
        raise InvalidInput.of("measurements", f"{len(message.measurements)} are more than {MAX_MEASURED + 1}")
    return MetricsReport(
        {word(each.session_uid, "session_uid"): _measurement_from_proto(each) for each in message.measurements}
    )


def sample_to_proto(sample: MetricSample) -> pb.MetricSample:
    """Converts all fields."""
    measured = sample.measured
    return pb.MetricSample(
        name=sample.name,
        time=time_to_proto(sample.time),
        cpus=measured.cpus,
        memory_bytes=measured.memory_bytes,
        received_rate=measured.received_rate,
        sent_rate=measured.sent_rate,
    )


def samples_to_proto(samples: Sequence[MetricSample]) -> pb.WatchMetricsResponse:
    """Converts the samples of one message."""
    return pb.WatchMetricsResponse(samples=map(sample_to_proto, samples))


def samples_from_proto(message: pb.WatchMetricsResponse) -> list[MetricSample]:
    """Parses the samples of one message. Raises InvalidInput."""
    return [
        MetricSample(each.name, time_from_proto(each, "time"), _measurement_from_proto(each))
        for each in message.samples
    ]


def watch_from_proto(request: pb.WatchMetricsRequest) -> tuple[list[str], list[str], str]:
    """Parses which sessions and runners are named, and the parent ("-" for all). Raises InvalidInput."""
    if len(request.names) > MAX_NAMES:
        raise InvalidInput.of("names", f"{len(request.names)} are more than {MAX_NAMES}: watch fewer at once")
    if request.names and request.parent:
        raise InvalidInput.of("parent", "give names or a parent, not both")
    sessions, runners = [], []
    for place, name in enumerate(dict.fromkeys(request.names)):
        field = f"names[{place}]"
        if name.startswith(names.runner_name("-")[:-1]):
            runners.append(names.parse_runner_name(name, field))
        else:
            sessions.append(names.parse_session_name(name, field))
    return sessions, runners, names.parse_parent(request.parent)


def _measurement_from_proto(message: link_pb2.Measurement | pb.MetricSample) -> Measurement:
    numbers = {"cpus": message.cpus, "received_rate": message.received_rate, "sent_rate": message.sent_rate}
    for field, number in numbers.items():
        if not math.isfinite(number) or number < 0:
            raise InvalidInput.of(field, f"{number} is not a rate: it must be 0 or more")
    if message.memory_bytes < 0:
        raise InvalidInput.of("memory_bytes", f"{message.memory_bytes} is less than 0")
    return Measurement(
        cpus=message.cpus,
        memory_bytes=message.memory_bytes,
        received_rate=message.received_rate if message.HasField("received_rate") else None,
        sent_rate=message.sent_rate if message.HasField("sent_rate") else None,
    )
