"""What runners are ordered to do with snapshots, and report of them."""

from __future__ import annotations

from typing import Final

from netvps.api.v1 import link_pb2, link_snapshot_pb2
from netvps.domain.checks import Checks
from netvps.domain.snapshot.snapshot import (
    RestoreResult,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
)
from netvps.rpc.convert import names
from netvps.rpc.convert.session.snapshots import RESTORE_STATE, SNAPSHOT_STATE
from netvps.rpc.convert.texts import sentence, word

_MAX_WARNINGS: Final = 32
_MAX_RESULTS: Final = 10_000


def order_to_proto(order: SnapshotOrder) -> link_snapshot_pb2.SnapshotOrder:
    """Converts all fields."""
    return link_snapshot_pb2.SnapshotOrder(snapshot_uid=order.uid, delete=order.delete)


def order_from_proto(message: link_snapshot_pb2.SnapshotOrder) -> SnapshotOrder:
    """Parses an order. Raises InvalidInput."""
    return SnapshotOrder(names.check_uid(message.snapshot_uid, "snapshot_uid"), message.delete)


def source_to_proto(source: SnapshotSource) -> link_snapshot_pb2.SnapshotSource:
    """Converts what a runner needs."""
    return link_snapshot_pb2.SnapshotSource(snapshot_uid=source.uid, session_uid=source.session)


def source_from_proto(message: link_snapshot_pb2.SnapshotSource) -> SnapshotSource:
    """Parses a source, without its name. Raises InvalidInput."""
    return SnapshotSource(
        names.check_uid(message.snapshot_uid, "snapshot_uid"), names.check_uid(message.session_uid, "session_uid")
    )


def result_to_proto(result: SnapshotResult) -> link_snapshot_pb2.SnapshotResult:
    """Converts all fields."""
    return link_snapshot_pb2.SnapshotResult(
        snapshot_uid=result.uid,
        state=SNAPSHOT_STATE.to_proto(result.state),
        reason=result.reason,
        message=result.message,
        size_bytes=result.size_bytes,
        digest=result.digest,
        warnings=result.warnings,
    )


def results_from_proto(message: link_pb2.SessionReport) -> tuple[SnapshotResult, ...]:
    """Parses the results in a report. Raises InvalidInput."""
    checks = Checks()
    checks.require(len(message.snapshots) <= _MAX_RESULTS, "report.snapshots", f"more than {_MAX_RESULTS}")
    checks.done()
    results: list[SnapshotResult] = []
    for result in message.snapshots:
        with checks.nested("report.snapshots"):
            results.append(result_from_proto(result))
    checks.done()
    return tuple(results)


def result_from_proto(message: link_snapshot_pb2.SnapshotResult) -> SnapshotResult:
    """Parses one result. Raises InvalidInput."""
    return SnapshotResult(
        uid=names.check_uid(message.snapshot_uid, "snapshot_uid"),
        state=SNAPSHOT_STATE.from_proto(message.state, "state"),
        reason=word(message.reason, "reason"),
        message=sentence(message.message),
        size_bytes=max(message.size_bytes, 0),
        digest=word(message.digest, "digest"),
        warnings=tuple(sentence(warning) for warning in message.warnings[:_MAX_WARNINGS]),
    )


def restore_result_to_proto(result: RestoreResult) -> link_snapshot_pb2.RestoreResult:
    """Converts all fields."""
    return link_snapshot_pb2.RestoreResult(
        restore_uid=result.uid, state=RESTORE_STATE.to_proto(result.state), message=result.message
    )


def restore_result_from_proto(message: link_snapshot_pb2.RestoreResult) -> RestoreResult:
    """Parses the result of a restore. Raises InvalidInput."""
    return RestoreResult(
        word(message.restore_uid, "report.restore.restore_uid"),
        RESTORE_STATE.from_proto(message.state, "report.restore.state"),
        sentence(message.message),
    )
