"""Requests about sessions as values; parsing reports all violations at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.domain.checks import Checks, shown
from netvps.domain.names import SESSION_NAME_MAX, check_label
from netvps.domain.session.spec import UPDATABLE, SessionSpec
from netvps.rpc.convert import names
from netvps.rpc.convert.session.sessions import mask_path, spec_from_proto
from netvps.rpc.convert.times import optional_time_from_proto

_DEFAULT_TAIL, _MAX_TAIL = 1000, 100_000


SessionChange = (
    pb.StopSessionRequest
    | pb.StartSessionRequest
    | change_pb.PauseSessionRequest
    | change_pb.ResumeSessionRequest
    | pb.DeleteSessionRequest
)


@dataclass(frozen=True, slots=True)
class CreateSession:
    """The session to create, and its owner ('' is the caller); '' as `session_id` lets the server choose."""

    session_id: str
    owner: str
    spec: SessionSpec
    request_id: str
    validate_only: bool
    address_reservation: str
    """Token of its address; '' for any."""


@dataclass(frozen=True, slots=True)
class ChangeSession:
    """The session to stop, start, pause, resume or delete; 0 means any revision."""

    name: str
    request_id: str
    expected_revision: int


@dataclass(frozen=True, slots=True)
class RenameSession(ChangeSession):
    """The session to rename, and its new NAME."""

    session_id: str


@dataclass(frozen=True, slots=True)
class ReplaceSession(ChangeSession):
    """The session to replace, and the one that gets its place."""

    replacement: str


@dataclass(frozen=True, slots=True)
class UpdateSession(ChangeSession):
    """The session to update: the fields of its spec to change, and a spec with their values."""

    spec: SessionSpec
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReadLogs:
    """The session whose logs to read, how many lines before the end, and from which time on."""

    name: str
    tail_lines: int
    follow: bool
    since: datetime | None


def create_from_proto(message: pb.CreateSessionRequest) -> CreateSession:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    owner, spec = "", SessionSpec()
    with checks.nested():
        if message.session_id:
            check_label(message.session_id, "session_id", SESSION_NAME_MAX)
    with checks.nested():
        owner = names.parse_owner(message.owner, "owner")
    with checks.nested("spec"):
        spec = spec_from_proto(message.spec)
        spec.require_size()
    with checks.nested():
        names.check_request_id(message.request_id)
    token = message.address_reservation
    with checks.nested():
        if token:
            names.check_uid(token, "address_reservation")
    checks.done()
    return CreateSession(message.session_id, owner, spec, message.request_id, message.validate_only, token)


def change_from_proto(message: SessionChange) -> ChangeSession:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    name = _changed(checks, message.name, message)
    checks.done()
    return ChangeSession(name, message.request_id, message.expected_revision)


def rename_from_proto(message: change_pb.RenameSessionRequest) -> RenameSession:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    name = _changed(checks, message.name, message)
    with checks.nested():
        check_label(message.session_id, "session_id", SESSION_NAME_MAX)
    checks.done()
    return RenameSession(name, message.request_id, message.expected_revision, message.session_id)


def replace_from_proto(message: change_pb.ReplaceSessionRequest) -> ReplaceSession:
    """Parses the request. Raises InvalidInput."""
    checks, replacement = Checks(), ""
    name = _changed(checks, message.name, message)
    with checks.nested():
        replacement = names.parse_session_name(message.replacement, "replacement")
    checks.done()
    return ReplaceSession(name, message.request_id, message.expected_revision, replacement)


def update_from_proto(message: pb.UpdateSessionRequest) -> UpdateSession:
    """Parses the request. Raises InvalidInput."""
    checks, spec = Checks(), SessionSpec()
    name = _changed(checks, message.session.name, message)
    with checks.nested("session.spec"):
        spec = spec_from_proto(message.session.spec)
    paths = frozenset(message.update_mask.paths)
    field_of = {mask_path(field): field for field in UPDATABLE}
    fields = frozenset(field_of[path] for path in paths & field_of.keys())
    checks.require(bool(paths), "update_mask", "no field is named: name those to change, for example spec.cpus")
    for path in sorted(paths):
        checks.require(
            path in field_of, "update_mask", f"{shown(path)} cannot be changed; what can: {', '.join(sorted(field_of))}"
        )
    checks.done()
    return UpdateSession(name, message.request_id, message.expected_revision, spec, fields)


def read_logs_from_proto(message: exec_pb.ReadSessionLogsRequest) -> ReadLogs:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    name = ""
    with checks.nested():
        name = names.parse_session_name(message.name)
    checks.require(
        0 <= message.tail_lines <= _MAX_TAIL,
        "tail_lines",
        f"{message.tail_lines} is not between 1 and {_MAX_TAIL}; 0 means {_DEFAULT_TAIL}",
    )
    since = None
    with checks.nested():
        since = optional_time_from_proto(message, "since_time")
    checks.done()
    return ReadLogs(name, message.tail_lines or _DEFAULT_TAIL, message.follow, since)


def _changed(
    checks: Checks,
    name: str,
    message: (
        SessionChange | change_pb.RenameSessionRequest | change_pb.ReplaceSessionRequest | pb.UpdateSessionRequest
    ),
) -> str:
    """Checks what requests for a change have in common; returns NAME or NAME.OWNER."""
    parsed = ""
    with checks.nested():
        parsed = names.parse_session_name(name)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.require(
        message.expected_revision >= 0, "expected_revision", f"{message.expected_revision} is not a revision"
    )
    return parsed
