"""Knows from memory at which names something is served: a proxy asks for each before it gets a certificate for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.http.stored import StoredUrl
from netvps.domain.session.session import Session
from netvps.errors import TooOld
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from netvps.domain.http.site import Site
    from netvps.domain.names import SessionName
    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Clock, Store


class ServedNames:
    """Reads all sessions and stored URLs once, and follows their changes: `run` is a task of the program."""

    def __init__(self, store: Store, feed: Feed, clock: Clock, site: Site) -> None:
        self._store, self._feed, self._clock, self._site = store, feed, clock, site
        self._sessions: dict[str, SessionName] = {}
        self._names: set[SessionName] = set()
        self._own: dict[str, StoredUrl] = {}
        """By host."""

    def serves(self, host: str) -> bool:
        """Whether a host (lower case) leads to a session now, or is that of logins."""
        if host == self._site.login_host:
            return True
        place = self._site.place_of(host)
        if place is not None:
            return place.session in self._names
        url = self._own.get(host)
        return url is not None and not url.has_ended(self._clock())

    async def run(self) -> None:
        """Follows changes until cancelled. Raises Unavailable when the feed ends."""
        while True:
            try:
                async with self._feed.subscribe(Topic(Session.kind), Topic(StoredUrl.kind)) as news:
                    await self._read_all()
                    async for change in news:
                        self._apply(change)
            except TooOld:
                continue

    async def _read_all(self) -> None:
        async with self._store.read() as reader:
            self._sessions = {session.uid: session.full_name for session in await reader.find(Session)}
            self._own = {url.own_host: url for url in await reader.find(StoredUrl) if url.own_host}
        self._names = set(self._sessions.values())

    def _apply(self, change: Change) -> None:
        match change.resource:
            case Session(uid=uid, full_name=name):
                if (before := self._sessions.pop(uid, None)) is not None and before != name:
                    self._names.discard(before)
                if change.deleted:
                    self._names.discard(name)
                else:
                    self._sessions[uid] = name
                    self._names.add(name)
            case StoredUrl(own_host=host) as url if host:
                if change.deleted:
                    self._own.pop(host, None)
                else:
                    self._own[host] = url
