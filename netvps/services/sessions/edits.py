"""Changes of one session: each is one transaction, done once per request id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netvps.domain.names import SessionName
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.lifecycle import defer
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import Changed, WrongState
from netvps.services.access.quotas import Quotas
from netvps.services.idempotency import Idempotency, recall
from netvps.services.network.addresses import Addresses, put_addressed
from netvps.services.sessions.gpus import with_gpus
from netvps.services.sessions.scheduler import placed
from netvps.services.sessions.scope import changeable_session
from netvps.services.sharing.removal import remove_access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from netvps.domain.access.accounts import Caller, Request
    from netvps.services.images.holdings import ImageHoldings
    from netvps.services.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True)
class EditRequest:
    """A change of one session, once per request id: the method, and its arguments besides name and revision."""

    caller: Caller
    full_name: SessionName
    method: str
    request_id: str
    expected_revision: int
    arguments: tuple[object, ...] = ()


def named(
    caller: Caller, name: str, method: str, request_id: str, expected_revision: int, *arguments: object
) -> EditRequest:
    """The change of the session NAME (of the caller) or NAME.OWNER. Raises InvalidInput."""
    full_name = SessionName.parse(name, caller.user)
    return EditRequest(caller, full_name, method, request_id, expected_revision, arguments)


class SessionEdits:
    """Writes changes of sessions."""

    def __init__(
        self, store: Store, clock: Clock, images: ImageHoldings | None = None, quotas: Quotas | None = None
    ) -> None:
        """`images` says which runners have which images."""
        self._quotas = quotas or Quotas()
        self._store = store
        self._clock = clock
        self._images = images

    async def edit(
        self, request: EditRequest, edit: Callable[[Transaction, Session, datetime], Awaitable[Session]]
    ) -> Session:
        """Writes what `edit` makes of a session, once per request id."""
        now, name, revision = self._clock(), request.full_name, request.expected_revision
        async with self._store.write(request.caller.user, "session.desired") as tx:
            once = Idempotency(
                tx, request.caller, request.request_id, now, request.method, str(name), revision, *request.arguments
            )
            earlier = await once.earlier()
            if earlier is None:
                session = await changeable_session(tx, request.caller, name)
                require_revision(session, revision)
                after = await edit(tx, session, now)
                await self._quotas.require(tx, session, after)
                session = await write_edited(tx, session, after, now, self._images)
                await once.record(session, str(session.full_name))
                return session
        return await recalled(self._store, earlier)


def require_revision(session: Session, revision: int) -> None:
    """Raises Changed if a session is not at this revision; 0 is any."""
    if revision and session.revision != revision:
        raise Changed(
            f"session {session.full_name} changed since revision {revision} (it is at {session.revision}): look at it "
            "again, then decide"
        )


async def with_runner(tx: Transaction, before: Session, after: Session, now: datetime, needs: str) -> Session:
    """The session with what its runner means for its new desired state. Raises WrongState if that lacks `needs`.

    Raises Exhausted if it has not enough free GPUs.
    """
    if after is before or not after.runner:
        return after
    runner = await tx.get(Runner, after.runner)
    if runner is not None and needs and needs not in runner.capabilities:
        version = f"netvps {runner.version}" if runner.version else "an earlier version of netvps"
        raise WrongState(f"runner {runner.name} runs {version}, which cannot {needs} sessions: update it")
    if runner is not None and after.desired is DesiredState.RUNNING:
        after = await with_gpus(tx, await Addresses(tx).again(after, runner), runner)
    silent = runner is None or runner.state is RunnerState.OFFLINE
    return defer(after, now) if silent else after


async def write_edited(
    tx: Transaction, before: Session, after: Session, now: datetime, images: ImageHoldings | None = None
) -> Session:
    """Writes a changed session; places one that waits for a runner, and drops one that was deleted without one."""
    if after is before:
        return before
    if after.state is SessionState.DELETED:  # it was never placed, so there is no runner to wait for
        await remove_access(tx, after.uid)
        await tx.delete(after)
        return after
    if not after.runner and after.desired is DesiredState.RUNNING:
        after = await placed(tx, after, now, images)
    return await put_addressed(tx, after)


async def recalled(store: Store, request: Request) -> Session:
    """The present session of an earlier request with the same id; one that is gone by now is DELETED."""
    session, gone = await recall(store, Session, request)
    return replace(session, state=SessionState.DELETED, desired=DesiredState.DELETED) if gone else session
