"""SessionService: each method parses the request, calls a service, and converts the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import session_sleep_pb2 as sleep_pb
from netvps.api.v1.session_pb2_grpc import SessionServiceServicer
from netvps.domain.access.sharing import Right
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput, Unavailable, WrongState
from netvps.rpc.client.streams import closing
from netvps.rpc.convert import names
from netvps.rpc.convert.remembered import Remembered
from netvps.rpc.convert.session import exec as exec_convert
from netvps.rpc.convert.session.batches import batch_from_proto, batch_to_proto, wait_from_proto
from netvps.rpc.convert.session.events import event_to_proto
from netvps.rpc.convert.session.requests import (
    change_from_proto,
    create_from_proto,
    read_logs_from_proto,
    rename_from_proto,
    replace_from_proto,
    update_from_proto,
)
from netvps.rpc.convert.session.sessions import listed_to_proto, session_plan_to_proto, session_to_proto
from netvps.rpc.convert.session.sleep import plan_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.domain.session.exec import ToCommand
    from netvps.domain.session.session import Session
    from netvps.rpc.convert.session.requests import SessionChange
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.ports import Commands
    from netvps.services.ports import SessionLogs
    from netvps.services.sessions.sessions import Sessions
    from netvps.services.sessions.watch import Watch
    from netvps.services.sharing.guard import ShareGuard
    from netvps.services.sleep.rules import IdleRules

_listed_to_proto = Remembered(listed_to_proto, 4096)
_event_to_proto = Remembered(event_to_proto, 256)


class SessionServicer(SessionServiceServicer):
    """Raises the errors of the services."""

    def __init__(
        self,
        sessions: Sessions,
        idle_rules: IdleRules,
        watch: Watch,
        logs: SessionLogs,
        commands: Commands,
        *,
        guard: ShareGuard,
    ) -> None:
        self._sessions = sessions
        self._idle_rules = idle_rules
        self._guard = guard
        self._watch = watch
        self._logs = logs
        self._commands = commands

    async def CreateSession(self, request: pb.CreateSessionRequest, context: Context) -> pb.Session:
        parsed = create_from_proto(request)
        if parsed.validate_only:
            return session_plan_to_proto(
                await self._sessions.plan(
                    identity.caller(),
                    session_id=parsed.session_id,
                    owner=parsed.owner,
                    spec=parsed.spec,
                    address_reservation=parsed.address_reservation,
                )
            )
        session = await self._sessions.create(
            identity.caller(),
            session_id=parsed.session_id,
            owner=parsed.owner,
            spec=parsed.spec,
            request_id=parsed.request_id,
            address_reservation=parsed.address_reservation,
        )
        return session_to_proto(session)

    async def BatchCreateSessions(
        self, request: pb.BatchCreateSessionsRequest, context: Context
    ) -> pb.BatchCreateSessionsResponse:
        drafts = batch_from_proto(request)
        create = self._sessions.create_each if request.each else self._sessions.create_all
        return batch_to_proto(await create(identity.caller(), drafts, request.request_id))

    async def WaitSession(self, request: pb.WaitSessionRequest, context: Context) -> pb.WaitSessionResponse:
        parsed = wait_from_proto(request)
        session, reached = await self._watch.until(identity.caller(), parsed.name, parsed.states, parsed.timeout)
        return pb.WaitSessionResponse(session=listed_to_proto(session), reached=reached)

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.Session:
        return session_to_proto(await self._sessions.get(identity.caller(), names.parse_session_name(request.name)))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        page = await self._sessions.list(
            identity.caller(),
            parent=names.parse_parent(request.parent),
            page_size=request.page_size,
            page_token=request.page_token,
            matching=request.filter,
            order_by=request.order_by,
        )
        return pb.ListSessionsResponse(
            sessions=[_listed_to_proto(session) for session in page.items],
            next_page_token=page.next_page_token,
            revision=page.revision,
        )

    async def StopSession(self, request: pb.StopSessionRequest, context: Context) -> pb.Session:
        return await _changed(self._sessions.stop, request)

    async def StartSession(self, request: pb.StartSessionRequest, context: Context) -> pb.Session:
        return await _changed(self._sessions.start, request)

    async def PauseSession(self, request: change_pb.PauseSessionRequest, context: Context) -> pb.Session:
        return await _changed(self._sessions.pause, request)

    async def ResumeSession(self, request: change_pb.ResumeSessionRequest, context: Context) -> pb.Session:
        return await _changed(self._sessions.resume, request)

    async def RenameSession(self, request: change_pb.RenameSessionRequest, context: Context) -> pb.Session:
        change = rename_from_proto(request)
        session = await self._sessions.rename(
            identity.caller(),
            change.name,
            change.session_id,
            request_id=change.request_id,
            expected_revision=change.expected_revision,
        )
        return session_to_proto(session)

    async def ReplaceSession(self, request: change_pb.ReplaceSessionRequest, context: Context) -> pb.Session:
        change = replace_from_proto(request)
        session = await self._sessions.replacements.replace(
            identity.caller(),
            change.name,
            change.replacement,
            request_id=change.request_id,
            expected_revision=change.expected_revision,
        )
        return session_to_proto(session)

    async def UpdateSession(self, request: pb.UpdateSessionRequest, context: Context) -> pb.Session:
        change = update_from_proto(request)
        session = await self._sessions.update(
            identity.caller(),
            change.name,
            change.spec,
            change.fields,
            request_id=change.request_id,
            expected_revision=change.expected_revision,
        )
        return session_to_proto(session)

    async def DeleteSession(self, request: pb.DeleteSessionRequest, context: Context) -> pb.Session:
        return await _changed(self._sessions.delete, request)

    async def GetSleepPlan(self, request: sleep_pb.GetSleepPlanRequest, context: Context) -> sleep_pb.SleepPlan:
        name = names.parse_session_name(request.name)
        return plan_to_proto(await self._idle_rules.plan(identity.caller(), name))

    async def WatchSessions(
        self, request: pb.WatchSessionsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSessionsResponse]:
        parent = names.parse_parent(request.parent)
        if request.from_revision < 0:
            raise InvalidInput.of("from_revision", f"{request.from_revision} is not a revision")
        events = self._watch.sessions(identity.caller(), parent, request.from_revision, progress=request.progress)
        async with closing(events):
            async for event in events:
                yield _event_to_proto(event)

    async def ReadSessionLogs(
        self, request: exec_pb.ReadSessionLogsRequest, context: Context
    ) -> AsyncIterator[exec_pb.ReadSessionLogsResponse]:
        parsed = read_logs_from_proto(request)
        caller = identity.caller()
        session, share = await self._sessions.permitted(caller, parsed.name, Right.WATCH)
        if not session.runner:
            raise Unavailable(f"session {session.full_name} has no logs yet: no runner has it; wait until it starts")
        pieces = self._logs.read(
            session.runner, session.uid, parsed.tail_lines, parsed.follow, user=caller.user, since=parsed.since
        )
        guarded = self._guard.guarded(pieces, share, Right.WATCH)
        async with closing(pieces), closing(guarded):
            async for piece in guarded:
                assert isinstance(piece, bytes)  # noqa: S101 — only tasks have their standard error apart
                yield exec_pb.ReadSessionLogsResponse(data=piece)

    async def ExecSession(
        self, request_iterator: AsyncIterator[exec_pb.ExecSessionRequest], context: Context
    ) -> AsyncIterator[exec_pb.ExecSessionResponse]:
        first = await anext(request_iterator, exec_pb.ExecSessionRequest())
        start = exec_convert.start_from_proto(first)
        caller = identity.caller()
        session, share = await self._sessions.permitted(caller, start.name, Right.LOGIN)
        if session.state not in {SessionState.RUNNING, SessionState.PAUSED}:
            raise WrongState(
                f"session {session.full_name} is {session.state}, not RUNNING: "
                f"start it with: netvps start {session.full_name}"
            )
        commands = self._commands.run(session, start, _inputs(request_iterator), user=caller.user)
        output = self._guard.guarded(commands, share, Right.LOGIN)
        async with closing(commands), closing(output):
            async for message in output:
                yield exec_convert.output_to_proto(message)


async def _changed(change: Callable[..., Awaitable[Session]], request: SessionChange) -> pb.Session:
    """Makes a change that needs no further argument."""
    parsed = change_from_proto(request)
    session = await change(
        identity.caller(), parsed.name, request_id=parsed.request_id, expected_revision=parsed.expected_revision
    )
    return session_to_proto(session)


async def _inputs(messages: AsyncIterator[exec_pb.ExecSessionRequest]) -> AsyncIterator[ToCommand]:
    async for message in messages:
        yield exec_convert.input_from_proto(message)
