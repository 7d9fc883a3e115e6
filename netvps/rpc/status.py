"""Converts between errors and gRPC statuses: two tables, and google.rpc.Status for the details.

The only module to do so.

The client's half imports google.rpc only when there is an error to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from netvps import errors
from netvps.errors import InvalidInput, NetvpsError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

DOMAIN = "netvps"
DETAILS_KEY = "grpc-status-details-bin"
# Peers accept 8 KiB of metadata by default. The message is sent twice, once percent-encoded.
_MAX_MESSAGE, _MAX_VIOLATIONS = 1000, 3000

CODE_OF: dict[type[NetvpsError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotPermitted: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Changed: grpc.StatusCode.ABORTED,
    errors.TooOld: grpc.StatusCode.OUT_OF_RANGE,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    # A caller cannot fix the server's configuration; to a caller the server is in the wrong state.
    errors.ConfigError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}
ERROR_OF: dict[grpc.StatusCode, type[NetvpsError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.FAILED_PRECONDITION: errors.WrongState,
    grpc.StatusCode.ABORTED: errors.Changed,
    grpc.StatusCode.OUT_OF_RANGE: errors.TooOld,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Exhausted,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TimedOut,
    grpc.StatusCode.DATA_LOSS: errors.DataLoss,
    grpc.StatusCode.INTERNAL: errors.InternalError,
    # Codes that only gRPC itself generates:
    grpc.StatusCode.UNKNOWN: errors.InternalError,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: errors.WrongState,
}


def code_of(error: NetvpsError) -> grpc.StatusCode:
    """The code of an error's class, or of its nearest base class that has one."""
    for base in type(error).__mro__:
        if base in CODE_OF:
            return CODE_OF[base]
    return grpc.StatusCode.INTERNAL


def code_from_number(number: int) -> grpc.StatusCode:
    """The code of a google.rpc.Status; INTERNAL for one that gRPC does not know."""
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.INTERNAL)


def to_status(error: NetvpsError) -> tuple[grpc.StatusCode, str, bytes]:
    """The code, message, and google.rpc.Status for DETAILS_KEY; texts are truncated to fit into a peer's metadata."""
    from google.rpc import error_details_pb2, status_pb2

    code, message = code_of(error), _cut(error.message, _MAX_MESSAGE)
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if isinstance(error, InvalidInput):
        bad = error_details_pb2.BadRequest()
        for violation in _that_fit(error.violations):
            bad.field_violations.add(field=violation.field, description=violation.description)
        status.details.add().Pack(bad)
    return code, message, status.SerializeToString()


def from_status(code: grpc.StatusCode, message: str, details: bytes | None) -> NetvpsError | None:
    """The error behind a status; None if gRPC itself generated the status."""
    if details is None:
        return None
    from google.rpc import error_details_pb2, status_pb2

    status = status_pb2.Status.FromString(details)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    if info.domain != DOMAIN:
        return None
    error = ERROR_OF.get(code, errors.InternalError)
    if error is InvalidInput:
        violations = (Violation(v.field, v.description) for v in bad.field_violations)
        return InvalidInput(*violations, reason=info.reason)
    return error(message, reason=info.reason)


def _that_fit(violations: Iterable[Violation]) -> list[Violation]:
    fit: list[Violation] = []
    size = 0
    for number, violation in enumerate(violations):
        size += len(violation.field.encode()) + len(violation.description.encode())
        if size > _MAX_VIOLATIONS and number:
            fit.append(Violation("", "more violations are left out"))
            break
        fit.append(Violation(_cut(violation.field, 200), _cut(violation.description, _MAX_MESSAGE)))
    return fit


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
