"""Shares sessions with other users, and ends shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.access.accounts import User
from netvps.domain.access.sharing import MAX_SHARES, NamedShare, Right, Share, share_key
from netvps.domain.checks import shown
from netvps.domain.names import SessionName
from netvps.domain.session.session import Session
from netvps.errors import Exhausted, InvalidInput, NotFound
from netvps.services.auditing import AuditedCall, add_details, audited
from netvps.services.ends import run_ends, seconds_until_next
from netvps.services.feed import Topic
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import no_user, permitted_session, session_or_user_filter

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.domain.access.sharing import ShareRole
    from netvps.services.feed import Feed
    from netvps.services.ports import Clock, Reader, Store

log = structlog.get_logger()

EXPIRED: Final = "share.expired"
"""The action in the audit log for a share whose end came."""
_ACTOR: Final = "share-expiry"


class Shares:
    """Manages shares. `run` is a task of the program, which removes those whose end has come."""

    def __init__(self, store: Store, clock: Clock, feed: Feed) -> None:
        self._store = store
        self._clock = clock
        self._feed = feed

    async def put(
        self,
        caller: Caller,
        name: str,
        user: str,
        role: ShareRole,
        expire_time: datetime | None = None,
        *,
        request_id: str = "",
    ) -> NamedShare:
        """Shares a session with a user, or changes their share.

        Raises NotFound, NotPermitted, Exhausted, and InvalidInput for an end in the past, or for its owner.
        """
        full_name, now = SessionName.parse(name, caller.user), self._clock()
        if expire_time is not None and expire_time <= now:
            raise InvalidInput.of("expire_time", f"{expire_time.isoformat()} is over: give a time in the future")
        add_details(("role", role.lower()), ("until", expire_time.isoformat() if expire_time else ""))
        async with self._store.write(caller.user, "share.put") as tx:
            once = Idempotency(tx, caller, request_id, now, "UpdateShare", str(full_name), user, role, str(expire_time))
            request = await once.earlier()
            if request is None:
                session, _ = await permitted_session(tx, caller, full_name, Right.MANAGE, now)
                if await tx.get(User, user) is None:
                    raise no_user(user)
                before = await tx.get(Share, share_key(session.uid, user))
                if before is None and len(await tx.find(Share, session=session.uid)) >= MAX_SHARES:
                    raise Exhausted(
                        f"session {full_name} is shared with {MAX_SHARES} users, which is the limit: "
                        f"end a share first, with netvps unshare {full_name} USER"
                    )
                since = before.create_time if before else now
                share = await tx.put(Share(session.uid, session.owner, user, role, since, expire_time))
                await once.record(share, f"of {full_name} with {user}")
                return NamedShare(share, full_name)
        return NamedShare((await recall(self._store, Share, request))[0], full_name)

    async def delete(self, caller: Caller, name: str, user: str, request_id: str = "") -> NamedShare:
        """Ends a share; its user may do that, too. Raises NotFound, NotPermitted."""
        full_name, now = SessionName.parse(name, caller.user), self._clock()
        async with self._store.write(caller.user, "share.remove") as tx:
            once = Idempotency(tx, caller, request_id, now, "DeleteShare", str(full_name), user)
            request = await once.earlier()
            if request is None:
                needed = Right.READ if user == caller.user else Right.MANAGE
                session, _ = await permitted_session(tx, caller, full_name, needed, now)
                share = await tx.get(Share, share_key(session.uid, user))
                if share is None:
                    who = shown(user)[1:-1]
                    raise NotFound(f"session {full_name} is not shared with {who}: see netvps shares {full_name}")
                await tx.delete(share)
                await once.record(share, f"of {full_name} with {user}")
                return NamedShare(share, full_name)
        return NamedShare((await recall(self._store, Share, request))[0], full_name)

    async def list(
        self, caller: Caller, *, session: str = "", user: str = "", page_size: int = 0, page_token: str = ""
    ) -> Page[NamedShare]:
        """The shares of a session, or, if `session` is '', those with a user ('': the caller).

        Raises NotFound, NotPermitted, InvalidInput.
        """
        async with self._store.read() as reader:
            where = await session_or_user_filter(reader, caller, session, user, column="user", now=self._clock())
            page = await read_page(reader, Share, page_size, page_token, **where)
            return Page(await _named(reader, page.items, self._clock()), page.next_page_token, page.revision)

    async def expire(self) -> float:
        """Removes shares whose end has come; returns the seconds until that is due again."""
        now = self._clock()
        async with self._store.read() as reader:
            ends = [(share.expire_time, share) for share in await reader.find(Share) if share.expire_time is not None]
        for end, share in ends:
            if end <= now:
                await self._remove_ended(share, now)
        return seconds_until_next((end for end, _ in ends), now)

    async def _remove_ended(self, share: Share, now: datetime) -> None:
        async with self._store.read() as reader:
            session = await reader.get(Session, share.session)
        target = f"sessions/{session.full_name}/shares/{share.user}" if session else ""
        with audited(AuditedCall("", "local", EXPIRED, target)):
            async with self._store.write(_ACTOR, "share.expire") as tx:
                present = await tx.get(Share, share.key)
                if present is not None and present.has_ended(now):
                    await tx.delete(present)
                    log.info("share ended", session=share.session, user=share.user)

    async def run(self) -> None:
        """Removes shares when their end comes, until cancelled."""
        await run_ends(self._feed, Topic(Share.kind), self.expire)


async def _named(reader: Reader, shares: list[Share], now: datetime) -> list[NamedShare]:
    named = []
    for share in shares:
        session = await reader.get(Session, share.session)
        if session is not None and not share.has_ended(now):
            named.append(NamedShare(share, session.full_name))
    return named
