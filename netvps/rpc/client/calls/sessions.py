"""Calls of SessionService. Sessions are named NAME or NAME.OWNER."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import session_sleep_pb2 as sleep_pb
from netvps.rpc.client.calls.call import UNARY_SLACK, Pages, Stream, Unary, new_request_id
from netvps.rpc.convert import names
from netvps.rpc.convert.session.events import event_from_proto
from netvps.rpc.convert.session.sessions import (
    SESSION_STATE,
    mask_path,
    session_from_proto,
    session_plan_from_proto,
    spec_to_proto,
)
from netvps.rpc.convert.times import duration_to_proto, time_to_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from netvps.domain.batch import NewSession, NotCreated
    from netvps.domain.runner.placement import SessionPlan
    from netvps.domain.session.event import SessionEvent
    from netvps.domain.session.exec import ExecStart, ToCommand
    from netvps.domain.session.session import Session, SessionState
    from netvps.domain.session.spec import SessionSpec
    from netvps.domain.sleep.idle import SleepPlan


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, converted one by one as they are iterated over, and the revision at which they were read."""

    revision: int
    sessions: Iterator[Session]


def create_session(
    session_id: str,
    spec: SessionSpec,
    *,
    owner: str = "",
    validate_only: bool = False,
    request_id: str = "",
    address_reservation: str = "",
) -> Unary[Session]:
    """Creates a session; an empty id lets the server choose a name, an empty owner is the caller.

    With `validate_only` nothing is created: the answer is the session as it would be, with its runner. A `request_id`
    of the caller's makes it safe to repeat after a restart of the caller, too; this holds for all calls that take one.
    `address_reservation` is the token of its address, from `reserve_address`.
    """
    request = pb.CreateSessionRequest(
        session_id=session_id,
        owner=names.user_name(owner) if owner else "",
        spec=spec_to_proto(spec),
        request_id=request_id or new_request_id(),
        validate_only=validate_only,
        address_reservation=address_reservation,
    )
    return Unary("SessionService/CreateSession", request, pb.Session, session_from_proto)


def plan_session(
    session_id: str, spec: SessionSpec, *, owner: str = "", address_reservation: str = ""
) -> Unary[SessionPlan]:
    """The session that `create_session` would make, with its runner, and why each runner could not have it."""
    call = create_session(session_id, spec, owner=owner, validate_only=True, address_reservation=address_reservation)
    return Unary(call.method, call.request, call.response, session_plan_from_proto)


def create_many(
    drafts: Iterable[NewSession], *, each: bool = False, request_id: str = ""
) -> Unary[list[Session | NotCreated]]:
    """Creates up to 100 sessions: all or none; or, with `each`, those that can be created, and why others were not."""
    from netvps.rpc.convert.session.batches import batch_to_message, results_from_proto

    request = batch_to_message(drafts, each=each, request_id=request_id or new_request_id())
    return Unary("SessionService/BatchCreateSessions", request, pb.BatchCreateSessionsResponse, results_from_proto)


def wait_session(name: str, states: Iterable[SessionState], timeout: float = 20.0) -> Unary[tuple[Session, bool]]:
    """The session once it is in one of these states, or after up to 300 seconds, and whether it is; one call.

    It answers early if the session failed or was deleted. `wait` is for longer, and over restarts of the server.
    """
    request = pb.WaitSessionRequest(
        name=names.session_name(name), states=map(SESSION_STATE.to_proto, states), timeout=duration_to_proto(timeout)
    )
    return Unary(
        "SessionService/WaitSession",
        request,
        pb.WaitSessionResponse,
        lambda answer: (session_from_proto(answer.session), answer.reached),
        timeout + UNARY_SLACK,
    )


def get_session(name: str) -> Unary[Session]:
    """One session."""
    request = pb.GetSessionRequest(name=names.session_name(name))
    return Unary("SessionService/GetSession", request, pb.Session, session_from_proto)


def list_sessions(parent: str = "", matching: str = "", order_by: str = "") -> Pages[Session]:
    """Sessions: of the caller (''), of a user, or all that the caller may see ('-').

    With a filter only those that match: "state=RUNNING (runner=box1 OR labels.team=web)" (domain.filter.parser). With
    an order "create_time desc, name" in that one, else by name.
    """
    request = pb.ListSessionsRequest(parent=_parent(parent), filter=matching, order_by=order_by)
    return Pages(
        "SessionService/ListSessions",
        request,
        pb.ListSessionsResponse,
        lambda page: map(session_from_proto, page.sessions),
    )


def list_session_pages(parent: str = "", matching: str = "", *, first: int = 0) -> Pages[SessionPage]:
    """As `list_sessions`, page by page, each with its revision; `first` is the number on the first page (0: the usual).

    A watch from the first page's revision has whatever changes while the others are read.
    """
    request = pb.ListSessionsRequest(parent=_parent(parent), filter=matching, page_size=first)
    return Pages(
        "SessionService/ListSessions",
        request,
        pb.ListSessionsResponse,
        lambda page: [SessionPage(page.revision, map(session_from_proto, page.sessions))],
    )


def stop_session(name: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Requests a stop with a snapshot. Raises Changed if `expected_revision` is given and is not the present one."""
    return _change("StopSession", pb.StopSessionRequest(), name, expected_revision, request_id)


def start_session(name: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Requests a start, or retries a failed one."""
    return _change("StartSession", pb.StartSessionRequest(), name, expected_revision, request_id)


def delete_session(name: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Deletes a session with its container and snapshots."""
    return _change("DeleteSession", pb.DeleteSessionRequest(), name, expected_revision, request_id)


def pause_session(name: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Requests that a running session is frozen."""
    return _change("PauseSession", change_pb.PauseSessionRequest(), name, expected_revision, request_id)


def resume_session(name: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Requests that a paused session runs on."""
    return _change("ResumeSession", change_pb.ResumeSessionRequest(), name, expected_revision, request_id)


def rename_session(name: str, session_id: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Gives a session another NAME; its owner stays."""
    request = change_pb.RenameSessionRequest(session_id=session_id)
    return _change("RenameSession", request, name, expected_revision, request_id)


def replace_session(name: str, replacement: str, *, expected_revision: int = 0, request_id: str = "") -> Unary[Session]:
    """Gives the name, the stored URLs and the shares of a session to another one, and deletes the first, at once.

    Raises Changed if `expected_revision` is given and is not the present one of the first.
    """
    request = change_pb.ReplaceSessionRequest(replacement=names.session_name(replacement))
    return _change("ReplaceSession", request, name, expected_revision, request_id)


def update_session(
    name: str, spec: SessionSpec, fields: Iterable[str], *, expected_revision: int = 0, request_id: str = ""
) -> Unary[Session]:
    """Takes these fields of a session's spec (`UPDATABLE`) from `spec`."""
    request = pb.UpdateSessionRequest(
        session=pb.Session(name=names.session_name(name), spec=spec_to_proto(spec)),
        update_mask=FieldMask(paths=sorted(map(mask_path, fields))),
        request_id=request_id or new_request_id(),
        expected_revision=expected_revision,
    )
    return Unary("SessionService/UpdateSession", request, pb.Session, session_from_proto)


def sleep_plan(name: str) -> Unary[SleepPlan]:
    """What keeps a session awake, and when it is paused and stopped."""
    from netvps.rpc.convert.session.sleep import plan_from_proto

    request = sleep_pb.GetSleepPlanRequest(name=names.session_name(name))
    return Unary("SessionService/GetSleepPlan", request, sleep_pb.SleepPlan, plan_from_proto)


def watch_sessions(parent: str = "", from_revision: int = 0, *, timeout: float | None = None) -> Stream[SessionEvent]:
    """Yields the list (or the changes since a revision), CAUGHT_UP, then changes and progress until closed.

    It ends with the connection; `watch` goes on after that.
    """
    request = pb.WatchSessionsRequest(parent=_parent(parent), from_revision=from_revision, progress=True)
    return Stream("SessionService/WatchSessions", request, pb.WatchSessionsResponse, event_from_proto, timeout)


def read_logs(name: str, tail_lines: int = 0, follow: bool = False, *, since: datetime | None = None) -> Stream[bytes]:
    """Yields container output: `tail_lines` before the end (0: the server's default), written after `since`."""
    request = exec_pb.ReadSessionLogsRequest(
        name=names.session_name(name),
        tail_lines=tail_lines,
        follow=follow,
        since_time=time_to_proto(since) if since else None,
    )
    return Stream(
        "SessionService/ReadSessionLogs", request, exec_pb.ReadSessionLogsResponse, lambda piece: bytes(piece.data)
    )


EXEC = ("SessionService/ExecSession", exec_pb.ExecSessionResponse)
"""The method, and the class of what it answers. Its input is read by the clients, each in its way."""


def exec_start(start: ExecStart) -> exec_pb.ExecSessionRequest:
    """The first message of a command."""
    from netvps.rpc.convert.session.exec import start_to_proto

    return start_to_proto(start)


def exec_input(message: ToCommand) -> Iterator[exec_pb.ExecSessionRequest]:
    """A later message, in pieces that the server takes."""
    from netvps.domain.session.exec import Stdin
    from netvps.rpc.convert.session.exec import input_to_proto

    if not isinstance(message, Stdin):
        yield input_to_proto(message)
        return
    from netvps.domain.pieces import pieces

    yield from (input_to_proto(Stdin(piece)) for piece in pieces(message.data))


def _change(method: str, request: Any, name: str, expected_revision: int, request_id: str) -> Unary[Session]:
    """A change of one session, whose request has these three fields."""
    request.name = names.session_name(name)
    request.expected_revision = expected_revision
    request.request_id = request_id or new_request_id()
    return Unary(f"SessionService/{method}", request, pb.Session, session_from_proto)


def _parent(user: str) -> str:
    return names.user_name(user) if user else ""
