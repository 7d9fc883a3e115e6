"""Messages about files of sessions between a runner and the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from netvps.api.v1 import link_snapshot_pb2 as pb
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.snapshot.diff import Diff, DiffOrder, DiffScope
from netvps.domain.snapshot.exchange import BrowsedSnapshot, BrowseOrder, ExportOrder, FilesRequest, ImportOrder
from netvps.domain.snapshot.snapshot import SnapshotResult
from netvps.errors import InternalError, InvalidInput, NetvpsError
from netvps.rpc.convert import images
from netvps.rpc.convert.runner.snapshots import result_from_proto, result_to_proto
from netvps.rpc.convert.session.diffs import diff_from_proto, diff_to_proto
from netvps.rpc.status import code_from_number, from_status, to_status

if TYPE_CHECKING:
    from netvps.domain.snapshot.exchange import FilesAnswer, FilesWork


def files_request_to_proto(request: FilesRequest) -> pb.FilesRequest:
    """A request to a runner."""
    return pb.FilesRequest(
        stream_id=request.stream_id, session_uid=request.session_uid, **_work_to_proto(request.work)
    )  # fmt: skip


def files_request_from_proto(message: pb.FilesRequest) -> FilesRequest | None:
    """A request; None if it asks for what this version does not know."""
    work = _work_from_proto(message)
    return FilesRequest(message.stream_id, message.session_uid, work) if work else None


def answer_to_proto(answer: FilesAnswer) -> pb.CarryFilesRequest:
    """A message of the runner after the first."""
    match answer:
        case bytes():
            return pb.CarryFilesRequest(data=answer)
        case Diff():
            return pb.CarryFilesRequest(diff=diff_to_proto(answer))
        case SnapshotResult():
            return pb.CarryFilesRequest(result=result_to_proto(answer))
        case _:
            return pb.CarryFilesRequest(image=images.answer_to_proto(answer))


def error_to_proto(error: NetvpsError) -> pb.CarryFilesRequest:
    """The last message of a runner whose work failed."""
    return pb.CarryFilesRequest(error=to_status(error)[2])


def answer_from_proto(message: pb.CarryFilesRequest) -> FilesAnswer | None:
    """A message of the runner after the first; None at its end. Raises the error that it carries, and InvalidInput."""
    match message.WhichOneof("message"):
        case "data":
            return checked_data(message.data)
        case "diff":
            return diff_from_proto(message.diff)
        case "result":
            return result_from_proto(message.result)
        case "image":
            return images.answer_from_proto(message.image)
        case "end":
            return None
        case "error":
            raise _error(message.error)
    raise InvalidInput.of("message", "the runner's message is empty, or of a later version")


def checked_data(data: bytes) -> bytes:
    """Data of one message. Raises InvalidInput if it is too large."""
    if len(data) > MAX_PIECE:
        raise InvalidInput.of("data", f"{len(data)} bytes in one message are more than {MAX_PIECE}")
    return data


def _error(data: bytes) -> NetvpsError:
    try:
        status = status_pb2.Status.FromString(data)
    except DecodeError:
        return InternalError("the runner reported a failure that cannot be read: see its log")
    code = code_from_number(status.code)
    return from_status(code, status.message, data) or InternalError(f"the runner failed: {status.message}")


def _work_to_proto(work: FilesWork) -> dict[str, Any]:
    match work:
        case DiffOrder():
            order = pb.DiffFiles(
                from_uid=work.from_uid,
                to_uid=work.to_uid,
                max_paths=work.scope.paths,
                folder_depth=work.scope.depth,
                excluded_paths=work.excluded,
            )
            return {"diff": order}
        case ExportOrder():
            named = pb.ExportFiles(
                snapshot_uid=work.snapshot_uid, snapshot_id=work.snapshot_id, session=work.session
            )  # fmt: skip
            return {"export": named}
        case ImportOrder():
            return {"import": pb.ImportFiles(snapshot_uid=work.snapshot_uid)}
        case BrowseOrder():
            shown = [
                pb.BrowsedSnapshot(snapshot_uid=one.uid, snapshot_id=one.id, create_seconds=one.create_time)
                for one in work.snapshots
            ]
            return {"browse": pb.BrowseFiles(snapshots=shown)}
        case _:
            return {"image": images.work_to_proto(work)}


def _work_from_proto(message: pb.FilesRequest) -> FilesWork | None:
    match message.WhichOneof("work"):
        case "diff":
            order = message.diff
            scope = DiffScope(order.max_paths, order.folder_depth)
            return DiffOrder(order.from_uid, order.to_uid, scope, tuple(order.excluded_paths))
        case "export":
            export = message.export
            return ExportOrder(export.snapshot_uid, export.snapshot_id, export.session)
        case "import":
            return ImportOrder(getattr(message, "import").snapshot_uid)
        case "browse":
            shown = message.browse.snapshots
            return BrowseOrder(
                tuple(BrowsedSnapshot(one.snapshot_uid, one.snapshot_id, one.create_seconds) for one in shown)
            )
        case "image":
            return images.work_from_proto(message.image)
    return None
