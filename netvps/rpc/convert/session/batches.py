"""Requests that create several sessions, and that wait for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.batch import MAX_BATCH, NewSession, NotCreated
from netvps.domain.checks import Checks
from netvps.domain.session.session import Session, SessionState
from netvps.rpc.convert import names
from netvps.rpc.convert.session.requests import create_from_proto
from netvps.rpc.convert.session.sessions import SESSION_STATE, session_from_proto, session_to_proto, spec_to_proto
from netvps.rpc.convert.texts import sentence, word
from netvps.rpc.convert.times import duration_from_proto

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_WAIT, _MAX_WAIT = 20.0, 300.0
_MAX_STATES: Final = 16


@dataclass(frozen=True, slots=True)
class WaitSession:
    """The session to wait for, the states, and for how many seconds."""

    name: str
    states: frozenset[SessionState]
    timeout: float


def batch_to_message(drafts: Iterable[NewSession], *, each: bool, request_id: str) -> pb.BatchCreateSessionsRequest:
    """The request for these sessions."""
    requests = [
        pb.CreateSessionRequest(
            session_id=draft.session_id,
            owner=names.user_name(draft.owner) if draft.owner else "",
            spec=spec_to_proto(draft.spec),
            address_reservation=draft.address_reservation,
        )
        for draft in drafts
    ]
    return pb.BatchCreateSessionsRequest(requests=requests, each=each, request_id=request_id)


def batch_from_proto(message: pb.BatchCreateSessionsRequest) -> list[NewSession]:
    """Parses the request. Raises InvalidInput."""
    checks, drafts = Checks(), list[NewSession]()
    count = len(message.requests)
    checks.require(
        0 < count <= MAX_BATCH, "requests", f"{count} are not between 1 and {MAX_BATCH}: send several batches"
    )
    with checks.nested():
        names.check_request_id(message.request_id)
    for index, request in enumerate(message.requests[:MAX_BATCH]):
        where = f"requests[{index}]"
        checks.require(
            not request.request_id, f"{where}.request_id", "it is set for the whole batch only: leave it out"
        )
        checks.require(not request.validate_only, f"{where}.validate_only", "ask with CreateSession")
        with checks.nested(where):
            parsed = create_from_proto(request)
            drafts.append(NewSession(parsed.session_id, parsed.spec, parsed.owner, parsed.address_reservation))
    checks.done()
    return drafts


def batch_to_proto(results: Iterable[Session | NotCreated]) -> pb.BatchCreateSessionsResponse:
    """Converts the answer."""
    return pb.BatchCreateSessionsResponse(
        results=[
            pb.BatchCreateSessionsResult(session=session_to_proto(one))
            if isinstance(one, Session)
            else pb.BatchCreateSessionsResult(failure=pb.CreateFailure(reason=one.reason, message=one.message))
            for one in results
        ]
    )


def results_from_proto(message: pb.BatchCreateSessionsResponse) -> list[Session | NotCreated]:
    """Parses the answer. Raises InvalidInput."""
    return [
        session_from_proto(one.session)
        if one.WhichOneof("result") == "session"
        else NotCreated(word(one.failure.reason, "reason"), sentence(one.failure.message))
        for one in message.results
    ]


def wait_from_proto(message: pb.WaitSessionRequest) -> WaitSession:
    """Parses the request. Raises InvalidInput."""
    checks, name, states = Checks(), "", set[SessionState]()
    with checks.nested():
        name = names.parse_session_name(message.name)
    count = len(message.states)
    checks.require(
        0 < count <= _MAX_STATES, "states", f"{count} are not between 1 and {_MAX_STATES}: name those awaited"
    )
    for index, state in enumerate(message.states[:_MAX_STATES]):
        with checks.nested():
            states.add(SESSION_STATE.from_proto(state, f"states[{index}]"))
    timeout = duration_from_proto(message.timeout) if message.HasField("timeout") else _DEFAULT_WAIT
    checks.require(0 < timeout <= _MAX_WAIT, "timeout", f"{timeout:g} s are not between 0 and {_MAX_WAIT:g} s")
    checks.done()
    return WaitSession(name, frozenset(states), timeout)
