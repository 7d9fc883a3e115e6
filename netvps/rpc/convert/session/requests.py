"""Requests about sessions as values; parsing reports all violations at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.names import SESSION_NAME_MAX, check_label
from netvps.domain.session.session import SessionSpec
from netvps.rpc.convert import names
from netvps.rpc.convert.session.sessions import spec_from_proto
from netvps.rpc.convert.times import optional_time_from_proto

_DEFAULT_TAIL, _MAX_TAIL = 1000, 100_000


@dataclass(frozen=True, slots=True)
class CreateSession:
    """The session to create, and its owner ('' is the caller); '' as `session_id` lets the server choose."""

    session_id: str
    owner: str
    spec: SessionSpec
    request_id: str
    validate_only: bool


@dataclass(frozen=True, slots=True)
class ChangeSession:
    """The session to stop, start or delete; 0 means any revision."""

    name: str
    request_id: str
    expected_revision: int


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
    checks.done()
    return CreateSession(message.session_id, owner, spec, message.request_id, message.validate_only)


def change_from_proto(
    message: pb.StopSessionRequest | pb.StartSessionRequest | pb.DeleteSessionRequest,
) -> ChangeSession:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    name = ""
    with checks.nested():
        name = names.parse_session_name(message.name)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.require(
        message.expected_revision >= 0, "expected_revision", f"{message.expected_revision} is not a revision"
    )
    checks.done()
    return ChangeSession(name, message.request_id, message.expected_revision)


def read_logs_from_proto(message: pb.ReadSessionLogsRequest) -> ReadLogs:
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
