"""Use cases of sessions. Each change is one transaction; the log carries it to the runner and to watchers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Caller
from netvps.domain.access.sharing import Right, most_rights, rights_without_share
from netvps.domain.batch import NewSession, NotCreated, at_index
from netvps.domain.filter.kinds import SessionFilter
from netvps.domain.names import SessionName
from netvps.domain.runner.placement import SessionPlan, why_not_fits
from netvps.domain.runner.runner import PAUSE, Runner, RunnerState
from netvps.domain.session import lifecycle
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session
from netvps.domain.session.spec import Placement, SessionSpec
from netvps.errors import Exhausted, InvalidInput, NetvpsError, NotPermitted
from netvps.services.access.quotas import Quotas
from netvps.services.idempotency import Idempotency
from netvps.services.images.default_image import default_image
from netvps.services.network.addresses import put_addressed
from netvps.services.page import Page, read_page
from netvps.services.scheduling.reservations import reservation_of
from netvps.services.sessions.edits import SessionEdits, named, recalled, with_runner
from netvps.services.sessions.free_names import free_name, require_free
from netvps.services.sessions.replacement import Replacements
from netvps.services.sessions.scheduler import placed, verdicts
from netvps.services.sessions.scope import permitted_session, require_user, visible_sessions
from netvps.services.snapshots.use import rename_snapshots, require_unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from netvps.domain.access.accounts import Request
    from netvps.domain.access.sharing import Share
    from netvps.services.images.holdings import ImageHoldings
    from netvps.services.ports import Clock, Reader, Store, Transaction
    from netvps.services.sessions.edits import EditRequest


class Sessions:
    """Creates, finds, changes and deletes sessions."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_uid: Callable[[], str],
        default_image: str,
        shown: Callable[[Session], Session] = lambda session: session,
        *,
        images: ImageHoldings | None = None,
        placement: Placement = Placement.SPREAD,
        quotas: Quotas | None = None,
    ) -> None:
        """`default_image` is used if a spec names no image and no admin chose another one; '' if there is none.

        `shown` returns a session as people see it, with its progress. `images` says which runners have which images.
        `placement` is of specs that say none.
        """
        self._shown = shown
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._images = images
        self._quotas = quotas or Quotas()
        self._edits = SessionEdits(store, clock, images, self._quotas)
        self.replacements = Replacements(store, clock)
        self._default_image = default_image
        self._placement = placement

    async def create(
        self,
        caller: Caller,
        *,
        session_id: str,
        owner: str,
        spec: SessionSpec,
        request_id: str = "",
        address_reservation: str = "",
    ) -> Session:
        """Creates a session and places it if a runner is online; without `session_id` it gets a generated name.

        `address_reservation` is the token of its address. Raises InvalidInput, AlreadyExists, Exhausted beyond a quota,
        NotPermitted or NotFound for another owner, and, for a reserved address, NotFound, WrongState if it has ended,
        and Exhausted.
        """
        async with self._store.write(caller.user, "session.create") as tx:
            draft = NewSession(session_id, spec, owner, address_reservation)
            made = await self._created(tx, caller, draft, request_id)
        return await self._answer(made)

    async def create_all(self, caller: Caller, drafts: Sequence[NewSession], request_id: str = "") -> list[Session]:
        """Creates all of these, in one transaction, or none. Raises as `create`; the error names the index."""
        made: list[Session | Request] = []
        async with self._store.write(caller.user, "session.create") as tx:
            for index, draft in enumerate(drafts):
                try:
                    made.append(await self._created(tx, caller, draft, _id_of(request_id, index)))
                except NetvpsError as error:
                    raise at_index(error, index) from None
        return [await self._answer(one) for one in made]

    async def create_each(
        self, caller: Caller, drafts: Sequence[NewSession], request_id: str = ""
    ) -> list[Session | NotCreated]:
        """Creates each of these that can be created, in a transaction of its own."""
        made: list[Session | NotCreated] = []
        for index, draft in enumerate(drafts):
            try:
                made.append(
                    await self.create(
                        caller,
                        session_id=draft.session_id,
                        owner=draft.owner,
                        spec=draft.spec,
                        request_id=_id_of(request_id, index),
                        address_reservation=draft.address_reservation,
                    )
                )
            except NetvpsError as error:
                made.append(NotCreated(error.reason, error.message))
        return made

    async def plan(
        self, caller: Caller, *, session_id: str, owner: str, spec: SessionSpec, address_reservation: str = ""
    ) -> SessionPlan:
        """What `create` would make, and why each runner could not have it; changes nothing. Raises as `create`."""
        async with self._store.read() as reader:
            draft = NewSession(session_id, spec, _owner(caller, owner), address_reservation)
            session = await self._draft(reader, caller, draft)
            return SessionPlan(session, await verdicts(reader, session, self._images))

    async def get(self, caller: Caller, name: str) -> Session:
        """The session NAME (of the caller) or NAME.OWNER; without environment and command for one who may not log in.

        Raises NotFound, also if the caller may not see it.
        """
        session, share = await self.permitted(caller, name, Right.READ)
        by_role = rights_without_share(caller, session.owner) if share is None else most_rights(caller.role)
        if Right.LOGIN not in by_role or (share is not None and not share.permits(Right.LOGIN, self._clock())):
            return replace(session, spec=replace(session.spec, env={}, command=()))
        return session

    async def permitted(self, caller: Caller, name: str, right: Right) -> tuple[Session, Share | None]:
        """The session, and the share by which the caller may do that; None for its owner and admins.

        Raises NotFound, NotPermitted.
        """
        full_name = SessionName.parse(name, caller.user)
        async with self._store.read() as reader:
            session, share = await permitted_session(reader, caller, full_name, right, self._clock())
            return self._shown(session), share

    async def list(
        self,
        caller: Caller,
        *,
        parent: str = "",
        page_size: int = 0,
        page_token: str = "",
        matching: str = "",
        order_by: str = "",
    ) -> Page[Session]:
        """The caller's own sessions (parent ''), all they may see ('-'), or USER's, that match; without order by name.

        Raises InvalidInput.
        """
        wanted = SessionFilter.parse(matching, order_by)
        async with self._store.read() as reader:
            visible = await visible_sessions(reader, caller, parent, self._clock())
            page = await read_page(reader, Session, page_size, page_token, wanted, visible.also, **visible.where)
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
        change = partial(lifecycle.set_desired, desired=DesiredState.STOPPED, by=Author(caller.user, cause))
        return await self._change(named(caller, name, DesiredState.STOPPED, request_id, expected_revision), change)

    async def start(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests a start, or retries a failed one; resumes a paused session. Raises NotFound, Changed, WrongState.

        Raises Exhausted if it needs GPUs that other sessions hold.
        """
        change = partial(lifecycle.set_desired, desired=DesiredState.RUNNING, by=_person(caller))
        return await self._change(named(caller, name, DesiredState.RUNNING, request_id, expected_revision), change)

    async def pause(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests that a running session is frozen. Raises NotFound, Changed, WrongState."""
        change = partial(lifecycle.pause, by=_person(caller))
        request = named(caller, name, DesiredState.PAUSED, request_id, expected_revision)
        return await self._change(request, change, needs=PAUSE)

    async def resume(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests that a paused session runs on. Raises NotFound, Changed, WrongState if it is not paused."""
        change = partial(lifecycle.resume, by=_person(caller))
        return await self._change(named(caller, name, "ResumeSession", request_id, expected_revision), change)

    async def delete(self, caller: Caller, name: str, *, request_id: str = "", expected_revision: int = 0) -> Session:
        """Requests the deletion; a session without a runner is deleted at once.

        Raises NotFound, Changed, WrongState if it is protected, has a pinned snapshot, or is being cloned.
        """
        request = named(caller, name, DesiredState.DELETED, request_id, expected_revision)

        async def deleted(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.delete(session, now, _person(caller))
            if after is not session:
                await require_unused(tx, session)
            return await with_runner(tx, session, after, now, "")

        return await self._edits.edit(request, deleted)

    async def rename(
        self, caller: Caller, name: str, session_id: str, *, request_id: str = "", expected_revision: int = 0
    ) -> Session:
        """Gives a session another name. Raises NotFound, AlreadyExists, Changed, WrongState."""
        request = named(caller, name, "RenameSession", request_id, expected_revision, session_id)

        async def renamed(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.rename(session, session_id, now)
            if after is not session:
                await require_free(tx, caller, after.full_name)
                await rename_snapshots(tx, after)
            return after

        return await self._edits.edit(request, renamed)

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
        request = named(caller, name, "UpdateSession", request_id, expected_revision, values)

        async def updated(tx: Transaction, session: Session, now: datetime) -> Session:
            after = lifecycle.update(session, session.spec.updated(spec, wanted), now)
            runner = await tx.get(Runner, after.runner) if after.runner else None
            changed = (after.spec.limits, after.spec.disk_bytes) != (session.spec.limits, session.spec.disk_bytes)
            if changed and runner is not None:
                if reason := why_not_fits(after.spec, runner):
                    raise Exhausted(f"session {session.full_name} keeps its limits: {reason}")
                if runner.state is RunnerState.OFFLINE:
                    after = replace(after, message=f"its runner {runner.name} is offline: its limits change later")
            return after

        return await self._edits.edit(request, updated)

    async def _created(self, tx: Transaction, caller: Caller, draft: NewSession, request_id: str) -> Session | Request:
        """The new session; or the record of the earlier request that made it."""
        draft = replace(draft, owner=_owner(caller, draft.owner))
        token = draft.address_reservation
        arguments = (draft.session_id, draft.owner, draft.spec, *((token,) if token else ()))
        once = Idempotency(tx, caller, request_id, self._clock(), "CreateSession", *arguments)
        request = await once.earlier()
        if request is not None:
            return request
        session = await put_addressed(tx, await self._draft(tx, caller, draft))
        if token:
            await tx.delete(await reservation_of(tx, caller, token))
        await once.record(session, str(session.full_name))
        return session

    async def _answer(self, made: Session | Request) -> Session:
        return made if isinstance(made, Session) else await recalled(self._store, made)

    async def _draft(self, reader: Reader, caller: Caller, draft: NewSession) -> Session:
        session_id, owner, spec, token = draft.session_id, draft.owner, draft.spec, draft.address_reservation
        reserved = await reservation_of(reader, caller, token) if token else None
        await require_user(reader, owner)
        if session_id:
            await require_free(reader, caller, SessionName(owner, session_id))
        name = SessionName(owner, session_id or await free_name(reader, owner))
        now = self._clock()
        spec = spec if spec.image else replace(spec, image=await default_image(reader, self._default_image))
        if spec.placement is Placement.DEFAULT and self._placement is not Placement.SPREAD:
            spec = replace(spec, placement=self._placement)
        if not spec.image:
            raise InvalidInput.of(
                "spec.image", "no image is named, and this server has no default: name one, for example debian:12"
            )
        made = new_session(self._new_uid(), name, spec, now, _person(caller))
        await self._quotas.require(reader, None, made)
        return await placed(reader, made, now, self._images, reserved)

    async def _change(self, request: EditRequest, change: Callable[..., Session], *, needs: str = "") -> Session:
        """Changes the desired state; `needs` is a capability that the session's runner must have."""

        async def changed(tx: Transaction, session: Session, now: datetime) -> Session:
            return await with_runner(tx, session, change(session, now=now), now, needs)

        return await self._edits.edit(request, changed)


def _id_of(request_id: str, index: int) -> str:
    """The request id of one request of a batch."""
    return f"{request_id}/{index}" if request_id else ""


def _owner(caller: Caller, owner: str) -> str:
    owner = owner or caller.user
    if not caller.sees(owner):
        raise NotPermitted(f"user {caller.user} may not create sessions of others: it needs role admin")
    return owner


def _person(caller: Caller) -> Author:
    return Author(caller.user, ChangeCause.PERSON)
