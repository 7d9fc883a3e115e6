"""Use cases of sessions. Each change is one transaction; the log carries it to the runner and to watchers."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Caller
from netvps.domain.names import SessionName
from netvps.domain.runner.placement import why_not_fits
from netvps.domain.runner.runner import PAUSE, Runner, RunnerState
from netvps.domain.session import lifecycle
from netvps.domain.session.lifecycle import defer, new_session
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.wordlist import COUNT, pleasant_name
from netvps.errors import (
    AlreadyExists,
    Changed,
    Exhausted,
    InvalidInput,
    NotPermitted,
    WrongState,
)
from netvps.services.idempotency import Idempotency, recall
from netvps.services.network.addresses import Addresses, put_addressed
from netvps.services.page import Page, read_page
from netvps.services.sessions.scheduler import placed
from netvps.services.sessions.scope import find_session, owner_filter, require_user
from netvps.services.snapshots.use import rename_snapshots, require_unused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from netvps.domain.access.accounts import Request
    from netvps.domain.session.session import SessionSpec
    from netvps.services.ports import Clock, Reader, Store, Transaction

_TRIES = 20


class Sessions:
    """Creates, finds, changes and deletes sessions."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_uid: Callable[[], str],
        default_image: str,
        shown: Callable[[Session], Session] = lambda session: session,
    ) -> None:
        """`default_image` is used if a spec names no image; '' if there is no default.

        `shown` returns a session as people see it, with its progress.
        """
        self._shown = shown
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._default_image = default_image

    async def create(
        self,
        caller: Caller,
        *,
        session_id: str,
        owner: str,
        spec: SessionSpec,
        request_id: str = "",
        validate_only: bool = False,
    ) -> Session:
        """Creates a session and places it if a runner is online; without `session_id` it gets a generated name.

        Raises InvalidInput, AlreadyExists, and NotPermitted or NotFound for another owner.
        """
        owner = owner or caller.user
        if not caller.sees(owner):
            raise NotPermitted(f"user {caller.user} may not create sessions of others: it needs role admin")
        if not (spec.image or self._default_image):
            raise InvalidInput.of(
                "spec.image", "no image is named, and this server has no default: name one, for example debian:12"
            )
        if validate_only:
            async with self._store.read() as reader:
                return await self._draft(reader, caller, session_id, owner, spec)
        async with self._store.write(caller.user, "session.create") as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "CreateSession", session_id, owner, spec)
            request = await once.earlier()
            if request is None:
                session = await put_addressed(tx, await self._draft(tx, caller, session_id, owner, spec))
                await once.record(session, str(session.full_name))
                return session
        return await _recalled(self._store, request)

    async def get(self, caller: Caller, name: str) -> Session:
        """The session NAME (of the caller) or NAME.OWNER. Raises NotFound, also if the caller may not see it."""
        full_name = SessionName.parse(name, caller.user)
        async with self._store.read() as reader:
            return self._shown(await find_session(reader, caller, full_name))

    async def list(
        self, caller: Caller, *, parent: str = "", page_size: int = 0, page_token: str = ""
    ) -> Page[Session]:
        """Sessions by name: the caller's own (parent ''), all they may see ('-'), or USER's."""
        async with self._store.read() as reader:
            where = await owner_filter(reader, caller, parent)
            page = await read_page(reader, Session, page_size, page_token, **where)
            return replace(page, items=list(map(self._shown, page.items)))

    async def stop(
        self,
        caller: Caller,
        name: str,
        *,
        request_id: str = "",
        expected_revision: int = 0,
        cause: ChangeCause = ChangeCause.PERSON,
    ) -> Session:
        """Requests a stop with a snapshot. Raises NotFound, Changed, WrongState."""
        change = partial(lifecycle.want, desired=DesiredState.STOPPED, by=Author(caller.user, cause))
        return await self._change(_named(caller, name, DesiredState.STOPPED, request_id, expected_revision), change)

    async def start(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests a start, or retries a failed one; resumes a paused session. Raises NotFound, Changed, WrongState."""
        change = partial(lifecycle.want, desired=DesiredState.RUNNING, by=_person(caller))
        return await self._change(_named(caller, name, DesiredState.RUNNING, request_id, expected_revision), change)

    async def pause(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests that a running session is frozen. Raises NotFound, Changed, WrongState."""
        change = partial(lifecycle.pause, by=_person(caller))
        request = _named(caller, name, DesiredState.PAUSED, request_id, expected_revision)
        return await self._change(request, change, needs=PAUSE)

    async def resume(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests that a paused session runs on. Raises NotFound, Changed, WrongState if it is not paused."""
        change = partial(lifecycle.resume, by=_person(caller))
        return await self._change(_named(caller, name, "ResumeSession", request_id, expected_revision), change)

    async def delete(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests the deletion; a session without a runner is deleted at once.

        Raises NotFound, Changed, WrongState if it is protected, has a pinned snapshot, or is being cloned.
        """
        request = _named(caller, name, DesiredState.DELETED, request_id, expected_revision)

        async def deleted(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.delete(session, now, _person(caller))
            if after is not session:
                await require_unused(tx, session)
            return await _with_runner(tx, session, after, now, "")

        return await self._edit(request, deleted)

    async def rename(
        self, caller: Caller, name: str, session_id: str, *, request_id: str = "", expected_revision: int = 0
    ) -> Session:
        """Gives a session another name. Raises NotFound, AlreadyExists, Changed, WrongState."""
        request = _named(caller, name, "RenameSession", request_id, expected_revision, session_id)

        async def renamed(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.rename(session, session_id, now)
            if after is not session:
                await require_free(tx, caller, after.full_name)
                await rename_snapshots(tx, after)
            return after

        return await self._edit(request, renamed)

    async def update(
        self,
        caller: Caller,
        name: str,
        spec: SessionSpec,
        fields: Iterable[str],
        *,
        request_id: str = "",
        expected_revision: int = 0,
    ) -> Session:
        """Takes these fields of the spec from `spec`.

        Raises InvalidInput, NotFound, Changed, WrongState, and Exhausted if the session would not fit its machine.
        """
        wanted = sorted(fields)
        values = {field: getattr(spec, field) for field in wanted}
        request = _named(caller, name, "UpdateSession", request_id, expected_revision, values)

        async def updated(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.update(session, session.spec.updated(spec, wanted), now)
            runner = await tx.get(Runner, after.runner) if after.runner else None
            if after.spec.limits != session.spec.limits and runner is not None:
                if reason := why_not_fits(after.spec, runner):
                    raise Exhausted(f"session {session.full_name} keeps its limits: {reason}")
                if runner.state is RunnerState.OFFLINE:
                    after = replace(after, message=f"its runner {runner.name} is offline: its limits change later")
            return after

        return await self._edit(request, updated)

    async def _draft(self, reader: Reader, caller: Caller, session_id: str, owner: str, spec: SessionSpec) -> Session:
        await require_user(reader, owner)
        if session_id:
            await require_free(reader, caller, SessionName(owner, session_id))
        name = SessionName(owner, session_id or await free_name(reader, owner))
        now = self._clock()
        spec = spec if spec.image else replace(spec, image=self._default_image)
        return await placed(reader, new_session(self._new_uid(), name, spec, now, _person(caller)), now)

    async def _change(self, request: _Request, change: Callable[..., Session], *, needs: str = "") -> Session:
        """Changes the desired state; `needs` is a capability that the session's runner must have."""

        async def changed(tx: Transaction, session: Session, now: datetime) -> Session:
            return await _with_runner(tx, session, change(session, now=now), now, needs)

        return await self._edit(request, changed)

    async def _edit(
        self, request: _Request, edit: Callable[[Transaction, Session, datetime], Awaitable[Session]]
    ) -> Session:
        """Writes what `edit` makes of a session, once per request id."""
        now, name, revision = self._clock(), request.full_name, request.expected_revision
        async with self._store.write(request.caller.user, "session.want") as tx:
            once = Idempotency(
                tx, request.caller, request.request_id, now, request.method, str(name), revision, *request.arguments
            )
            earlier = await once.earlier()
            if earlier is None:
                session = await find_session(tx, request.caller, name)
                if revision and session.revision != revision:
                    raise Changed(
                        f"session {name} changed since revision {revision} (it is at {session.revision}): look at it "
                        "again, then decide"
                    )
                session = await _write(tx, session, await edit(tx, session, now), now)
                await once.record(session, str(session.full_name))
                return session
        return await _recalled(self._store, earlier)


@dataclass(frozen=True, slots=True)
class _Request:
    """A change of one session, once per request id: the method, and its arguments besides name and revision."""

    caller: Caller
    full_name: SessionName
    method: str
    request_id: str
    expected_revision: int
    arguments: tuple[object, ...] = ()


def _named(
    caller: Caller, name: str, method: str, request_id: str, expected_revision: int, *arguments: object
) -> _Request:
    full_name = SessionName.parse(name, caller.user)
    return _Request(caller, full_name, method, request_id, expected_revision, arguments)


async def _with_runner(tx: Transaction, before: Session, after: Session, now: datetime, needs: str) -> Session:
    """The session with what its runner means for its new desired state. Raises WrongState if that lacks `needs`."""
    if after is before or not after.runner:
        return after
    runner = await tx.get(Runner, after.runner)
    if runner is not None and needs and needs not in runner.capabilities:
        version = f"netvps {runner.version}" if runner.version else "an earlier version of netvps"
        raise WrongState(f"runner {runner.name} runs {version}, which cannot {needs} sessions: update it")
    if runner is not None and after.desired is DesiredState.RUNNING:
        after = await Addresses(tx).again(after, runner)
    silent = runner is None or runner.state is RunnerState.OFFLINE
    return defer(after, now) if silent else after


async def _write(tx: Transaction, before: Session, after: Session, now: datetime) -> Session:
    """Writes a changed session; places one that waits for a runner, and drops one that was deleted without one."""
    if after is before:
        return before
    if after.state is SessionState.DELETED:  # it was never placed, so there is no runner to wait for
        await tx.delete(after)
        return after
    if not after.runner and after.desired is DesiredState.RUNNING:
        after = await placed(tx, after, now)
    return await put_addressed(tx, after)


def _person(caller: Caller) -> Author:
    return Author(caller.user, ChangeCause.PERSON)


async def _recalled(store: Store, request: Request) -> Session:
    session, gone = await recall(store, Session, request)
    return replace(session, state=SessionState.DELETED, desired=DesiredState.DELETED) if gone else session


async def require_free(reader: Reader, caller: Caller, name: SessionName) -> None:
    """Raises AlreadyExists if a session has that name."""
    found = await reader.find(Session, owner=name.owner, name=name.name)
    if not found:
        return
    short = name.name if name.owner == caller.user else str(name)
    if found[0].desired is DesiredState.DELETED:
        raise AlreadyExists(f"session {short} is being deleted: choose another name, or wait until it is gone")
    raise AlreadyExists(f"session {short} exists already: choose another name, or netvps ssh {short}")


async def free_name(reader: Reader, owner: str) -> str:
    """A generated name, with a number appended if several random ones are in use."""

    async def free(name: str) -> bool:
        return not await reader.find(Session, owner=owner, name=name)

    name = pleasant_name(secrets.randbelow(COUNT))
    for _ in range(_TRIES):
        if await free(name):
            return name
        name = pleasant_name(secrets.randbelow(COUNT))
    for number in itertools.count(2):
        if await free(f"{name}-{number}"):
            break
    return f"{name}-{number}"
