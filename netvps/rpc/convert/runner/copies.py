"""Orders, reports and requests about copies of snapshots, and requests for images."""

from __future__ import annotations

from netvps.api.v1 import copy_pb2 as pb
from netvps.domain.image.copies import ImageRequest
from netvps.domain.snapshot.copies import CopyOrder, CopyPart, CopyReport, CopyRequest, CopyState
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.texts import sentence

COPY_STATE = EnumPair(CopyState, pb.CopyState, "COPY_STATE_")
COPY_PART = EnumPair(CopyPart, pb.CopyPart, "COPY_PART_")


def copy_order_to_proto(order: CopyOrder) -> pb.CopyOrder:
    """Converts all fields."""
    return pb.CopyOrder(session_uid=order.session, snapshot_uid=order.snapshot, drop=order.drop, urgent=order.urgent)


def copy_order_from_proto(message: pb.CopyOrder) -> CopyOrder:
    """Parses an order. Raises InvalidInput."""
    return CopyOrder(
        names.check_uid(message.session_uid, "session_uid"),
        names.check_uid(message.snapshot_uid, "snapshot_uid"),
        message.drop,
        message.urgent,
    )


def copy_report_to_proto(report: CopyReport) -> pb.CopyReport:
    """Converts all fields."""
    return pb.CopyReport(
        session_uid=report.session,
        snapshot_uid=report.snapshot,
        state=COPY_STATE.to_proto(report.state),
        message=report.message,
        done_bytes=report.done_bytes,
        total_bytes=report.total_bytes,
        rate=report.rate,
        damaged_runner_uid=report.damaged,
    )


def copy_report_from_proto(message: pb.CopyReport) -> CopyReport:
    """Parses a report. Raises InvalidInput."""
    damaged = message.damaged_runner_uid
    return CopyReport(
        names.check_uid(message.session_uid, "copy_report.session_uid"),
        names.check_uid(message.snapshot_uid, "copy_report.snapshot_uid"),
        COPY_STATE.from_proto(message.state, "copy_report.state"),
        sentence(message.message),
        max(message.done_bytes, 0),
        max(message.total_bytes, 0),
        max(message.rate, 0),
        names.check_uid(damaged, "copy_report.damaged_runner_uid") if damaged else "",
    )


def copy_request_to_proto(request: CopyRequest) -> pb.CopyRequest:
    """Converts all fields."""
    return pb.CopyRequest(
        stream_id=request.stream_id,
        session_uid=request.session,
        snapshot_uid=request.snapshot,
        part=COPY_PART.to_proto(request.part),
        offset=request.offset,
    )


def copy_request_from_proto(message: pb.CopyRequest | pb.ReadCopyRequest) -> CopyRequest:
    """Parses a request, of the control plane or of another runner. Raises InvalidInput."""
    if message.offset < 0:
        raise InvalidInput.of("offset", f"{message.offset} is less than 0")
    return CopyRequest(
        message.stream_id if isinstance(message, pb.CopyRequest) else "",
        names.check_uid(message.session_uid, "session_uid"),
        names.check_uid(message.snapshot_uid, "snapshot_uid"),
        COPY_PART.from_proto(message.part, "part"),
        message.offset,
    )


def image_request_to_proto(request: ImageRequest) -> pb.ImageCopyRequest:
    """Converts all fields."""
    return pb.ImageCopyRequest(
        stream_id=request.stream_id,
        reference=request.reference,
        image_digest=request.image,
        layer_digest=request.layer,
        offset=request.offset,
    )


def image_request_from_proto(message: pb.ImageCopyRequest | pb.ReadImageRequest) -> ImageRequest:
    """Parses a request, of the control plane or of another runner. Raises InvalidInput."""
    return ImageRequest(
        message.stream_id if isinstance(message, pb.ImageCopyRequest) else "",
        message.reference,
        message.image_digest,
        message.layer_digest,
        message.offset,
    )
