"""Stores who may open URLs, and ends them."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from netvps.domain.access.accounts import User
from netvps.domain.access.sharing import Right
from netvps.domain.checks import shown
from netvps.domain.http.site import Place
from netvps.domain.http.stored import (
    LINK_PREFIX,
    LONGEST_LINK,
    MAX_URL_USERS,
    MAX_URLS,
    Audience,
    NamedUrl,
    StoredUrl,
    check_own_host,
    url_key,
)
from netvps.domain.names import SessionName
from netvps.domain.session.session import Session
from netvps.errors import AlreadyExists, Exhausted, InvalidInput, NotFound, WrongState
from netvps.services.auditing import AuditedCall, add_details, audited
from netvps.services.ends import run_ends, seconds_until_next
from netvps.services.feed import Topic
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import no_user, permitted_session, session_or_user_filter

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.feed import Feed
    from netvps.services.http.visits import Visits
    from netvps.services.ports import Clock, Reader, Store, Transaction

log = structlog.get_logger()

_ACTOR = "url-expiry"


class StoredUrls:
    """Manages stored URLs, for owners of sessions and admins."""

    def __init__(self, store: Store, clock: Clock, visits: Visits, reserved: Collection[str] = ()) -> None:
        """`reserved` are names of the server, which no session may have."""
        self._store, self._clock, self._visits = store, clock, visits
        self._reserved = reserved

    async def put(
        self,
        caller: Caller,
        session: str,
        port: int,
        audience: Audience,
        *,
        name: str = "",
        users: tuple[str, ...] = (),
        expire_time: datetime | None = None,
        request_id: str = "",
    ) -> NamedUrl:
        """Stores who may open a port at its host, or at `name`; changes it if it is stored already.

        Raises NotFound, NotPermitted, InvalidInput, AlreadyExists if another session has that name, Exhausted, and
        WrongState if the port has no host.
        """
        full_name, now = SessionName.parse(session, caller.user), self._clock()
        users = tuple(sorted(set(users)))
        self._check(audience, name, users)
        _check_end(expire_time, now)
        add_details(
            ("port", str(port)), ("audience", audience.lower()), ("users", " ".join(users)),
            ("until", expire_time.isoformat() if expire_time else ""),
        )  # fmt: skip
        async with self._store.write(caller.user) as tx:
            arguments = (str(full_name), port, audience, name, users, str(expire_time))
            once = Idempotency(tx, caller, request_id, now, "UpdateUrl", *arguments)
            request = await once.earlier()
            if request is None:
                found, _ = await permitted_session(tx, caller, full_name, Right.MANAGE, now)
                for user in users:
                    if await tx.get(User, user) is None:
                        raise no_user(user)
                url = StoredUrl(found.uid, found.owner, port, audience, now, name, users, expire_time)
                if not name:
                    self._visits.site.host_of(Place(full_name, port))
                before = await tx.get(StoredUrl, url.key)
                if before is not None and before.session != found.uid:
                    raise await _taken(tx, caller, before)
                if before is None:
                    await _require_room(tx, found.owner)
                else:
                    url = replace(url, create_time=before.create_time)
                stored = await tx.put(url)
                await once.record(stored, f"{stored.id} of {full_name}")
                return self._named(stored, full_name)
        return self._named((await recall(self._store, StoredUrl, request))[0], full_name)

    async def create_link(
        self, caller: Caller, session: str, port: int, expire_time: datetime | None, request_id: str = ""
    ) -> tuple[NamedUrl, str]:
        """Makes a link to a port for someone without an account, which ends; returns it with the secret URL.

        Raises as `put`, and AlreadyExists for a request_id that made a link.
        """
        full_name, now = SessionName.parse(session, caller.user), self._clock()
        if expire_time is None or expire_time > now + LONGEST_LINK:
            raise InvalidInput.of("expire_time", f"a link ends after at most {LONGEST_LINK.days} days: give its end")
        _check_end(expire_time, now)
        host = self._visits.site.host_of(Place(full_name, port))
        add_details(("port", str(port)), ("until", expire_time.isoformat()))
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateUrlLink", str(full_name), port, str(expire_time))
            await once.earlier_secret()
            found, _ = await permitted_session(tx, caller, full_name, Right.MANAGE, now)
            await _require_room(tx, found.owner)
            name = f"{LINK_PREFIX}{secrets.token_hex(5)}"
            link = await tx.put(
                StoredUrl(found.uid, found.owner, port, Audience.LINK, now, name, expire_time=expire_time)
            )
            await once.record(link, f"{name} of {full_name}")
        return self._named(link, full_name), self._visits.link(link, host)

    async def delete(self, caller: Caller, session: str, id_: str, request_id: str = "") -> NamedUrl:
        """Ends a stored URL. Raises NotFound, NotPermitted."""
        full_name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "DeleteUrl", str(full_name), id_)
            request = await once.earlier()
            if request is None:
                found, _ = await permitted_session(tx, caller, full_name, Right.MANAGE, now)
                url = await tx.get(StoredUrl, url_key(found.uid, id_))
                if url is None or url.session != found.uid:
                    raise NotFound(f"session {full_name} has no URL {shown(id_)[1:-1]}: see netvps url ls {full_name}")
                await tx.delete(url)
                await once.record(url, f"{id_} of {full_name}")
                return self._named(url, full_name)
        return self._named((await recall(self._store, StoredUrl, request))[0], full_name)

    async def list(
        self, caller: Caller, *, session: str = "", user: str = "", page_size: int = 0, page_token: str = ""
    ) -> Page[NamedUrl]:
        """The stored URLs of a session, or, if `session` is '', of a user's sessions ('': the caller's).

        Raises NotFound, NotPermitted, InvalidInput.
        """
        async with self._store.read() as reader:
            where = await session_or_user_filter(reader, caller, session, user, column="owner", now=self._clock())
            page = await read_page(reader, StoredUrl, page_size, page_token, **where)
            now, named = self._clock(), []
            for url in page.items:
                of = await reader.get(Session, url.session)
                if of is not None and not url.has_ended(now):
                    named.append(self._named(url, of.full_name))
            return Page(named, page.next_page_token, page.revision)

    async def expire(self) -> float:
        """Removes URLs whose end has come; returns the seconds until that is due again."""
        now = self._clock()
        async with self._store.read() as reader:
            ends = [(url.expire_time, url) for url in await reader.find(StoredUrl) if url.expire_time is not None]
        for end, url in ends:
            if end <= now:
                await self._remove_ended(url, now)
        return seconds_until_next((end for end, _ in ends), now)

    async def _remove_ended(self, url: StoredUrl, now: datetime) -> None:
        async with self._store.read() as reader:
            session = await reader.get(Session, url.session)
        target = f"sessions/{session.full_name}/urls/{url.id}" if session else ""
        with audited(AuditedCall("", "local", "url.expired", target)):
            async with self._store.write(_ACTOR) as tx:
                present = await tx.get(StoredUrl, url.key)
                if present is not None and present.has_ended(now):
                    await tx.delete(present)
                    log.info("URL ended", session=url.session, url=url.id)

    async def run(self, feed: Feed) -> None:
        """Removes URLs when their end comes, until cancelled."""
        await run_ends(feed, Topic(StoredUrl.kind), self.expire)

    def _check(self, audience: Audience, name: str, users: tuple[str, ...]) -> None:
        if audience is Audience.LINK:
            raise InvalidInput.of("audience", "a link is made with CreateUrlLink: netvps url NAME PORT --link")
        if audience is Audience.PRIVATE and not name:
            raise InvalidInput.of(
                "audience",
                "whoever may log in to the session may open its ports already: say who else may (--public, --members"
                " or --share USER), or give it a name (--name)",
            )
        if bool(users) != (audience is Audience.USERS) or len(users) > MAX_URL_USERS:
            raise InvalidInput.of(
                "users", f"1 to {MAX_URL_USERS} users are named if the audience is USERS, and only then"
            )
        if name:
            check_own_host(name, self._visits.site, self._reserved)

    def _named(self, url: StoredUrl, session: SessionName) -> NamedUrl:
        site = self._visits.site
        try:
            host = url.own_host or site.host_of(Place(session, url.port))
        except WrongState:  # it was renamed to a name without a host
            return NamedUrl(url, session, "")
        return NamedUrl(url, session, f"{site.url(host)}/")


def _check_end(expire_time: datetime | None, now: datetime) -> None:
    if expire_time is not None and expire_time <= now:
        raise InvalidInput.of("expire_time", f"{expire_time.isoformat()} is over: give a time in the future")


async def _require_room(reader: Reader, owner: str) -> None:
    if len(await reader.find(StoredUrl, owner=owner)) >= MAX_URLS:
        raise Exhausted(
            f"{owner} has {MAX_URLS} stored URLs, which is the limit: remove one first, with netvps url rm NAME URL"
        )


async def _taken(tx: Transaction, caller: Caller, url: StoredUrl) -> AlreadyExists:
    """The error for a name that another session has, which is named only to whoever may see it."""
    session = await tx.get(Session, url.session)
    if session is not None and (caller.user == session.owner or caller.sees_all):
        return AlreadyExists(
            f"{url.name} leads to session {session.full_name}: remove it there first, with"
            f" netvps url rm {session.full_name} {url.name}"
        )
    return AlreadyExists(f"{url.name} leads to another session: choose another name")
