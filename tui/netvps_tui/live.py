"""The sessions as the server's watch tells them, and how old that is. No polling, and a redraw only for news."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import aclosing
from enum import Enum
from typing import TYPE_CHECKING, Final

from netvps.client import EventType, Interrupted, Reset, SessionEvent
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.client import AsyncClient, Session, WatchEvent

_PERIOD: Final = 0.25
"""Seconds between two redraws at least."""
_FIRST: Final = 100
"""Sessions with which the first redraw does not wait for the rest."""
_REMEMBERED: Final = 2000
_RETRY: Final = 10.0
"""Seconds after a refusal (an expired key) until it is tried again: the person may log in meanwhile."""


class Status(Enum):
    """How the connection is."""

    CONNECTING = "connecting"
    LIVE = "live"
    AWAY = "away"
    REFUSED = "refused"


class Live:
    """All sessions that the caller may see."""

    def __init__(self, on_news: Callable[[set[str]], None], on_status: Callable[[], None]) -> None:
        """`on_news` gets the uids of what changed, came or went."""
        self.sessions: dict[str, Session] = {}
        self.progress: dict[str, str] = {}
        """What is being done about a session now, by uid."""
        self.events: deque[SessionEvent] = deque(maxlen=_REMEMBERED)
        """Changes since the start of the program."""
        self.status = Status.CONNECTING
        self.error = ""
        self.heard = time.monotonic()
        """When the connection was last known to be good."""
        self.complete = False
        """Whether the list came to its end once."""
        self._on_news, self._on_status = on_news, on_status
        self._dirty: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed = 0.0

    async def run(self, client: AsyncClient) -> None:
        """Follows the server until cancelled."""
        while True:
            try:
                known = list(self.sessions.values())
                async with aclosing(client.watch("-", known=known, attempts=None)) as events:
                    async for event in events:
                        self.take(event)
            except NetvpsError as error:
                self._set(Status.REFUSED, error.message)
            await asyncio.sleep(_RETRY)

    def take(self, event: WatchEvent) -> None:
        """Takes an event in."""
        match event:
            case Interrupted(error):
                self._set(Status.AWAY, error.message)
                return
            case Reset():
                return
            case _:
                pass
        self.heard = time.monotonic()
        self._set(Status.LIVE, "")
        session = event.session
        if session is None:
            self.complete = True
            self._schedule(soon=True)
            return
        if event.type is EventType.PROGRESS:
            self.progress[session.uid] = session.message
        else:
            self._put(event, session)
        self._dirty.add(session.uid)
        self._schedule(soon=not self.complete and len(self.sessions) == _FIRST)

    def _put(self, event: SessionEvent, session: Session) -> None:
        self.progress.pop(session.uid, None)
        old = self.sessions.get(session.uid)
        if event.type is EventType.DELETED:
            self.sessions.pop(session.uid, None)
        elif old is not None and old.revision > session.revision:
            return  # a list that comes again can be older than the answer to a call
        else:
            self.sessions[session.uid] = session
        if self.complete and (old is None or old.revision != session.revision or event.type is EventType.DELETED):
            self.events.append(event)

    def answer(self, session: Session) -> None:
        """Takes in the answer to a call, which may come before the watch tells the same."""
        known = self.sessions.get(session.uid)
        if known is not None and known.revision < session.revision:
            self.sessions[session.uid] = session
            self._dirty.add(session.uid)
            self._schedule(soon=True)

    def _set(self, status: Status, error: str) -> None:
        if (status, error) != (self.status, self.error):
            self.status, self.error = status, error
            self._on_status()

    def _schedule(self, *, soon: bool) -> None:
        loop = asyncio.get_running_loop()
        if soon and self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._flush is None:
            wait = 0.0 if soon else max(0.0, self._flushed + _PERIOD - loop.time())
            self._flush = loop.call_later(wait, self._tell)

    def _tell(self) -> None:
        self._flush = None
        self._flushed = asyncio.get_running_loop().time()
        dirty, self._dirty = self._dirty, set()
        self._on_news(dirty)
