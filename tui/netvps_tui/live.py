"""The sessions as the server's watch tells them, and how old that is. No polling, and a redraw only for news."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import aclosing
from enum import Enum
from typing import TYPE_CHECKING, Final

from netvps.client import EventType, Interrupted, Reset, SessionEvent, SessionFilter
from netvps.errors import NetvpsError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.client import AsyncClient, Session

_PERIOD: Final = 0.25
"""Seconds between two redraws at least."""
_FIRST: Final = 100
"""Sessions of the first page, which is shown before the others are read."""
_AT_ONCE: Final = 25
"""Sessions read between two looks at the keyboard."""
MOST: Final = 20_000
"""Sessions that are known here; about 2 KB each. Of more, the server lists those that the filter matches."""
_REMEMBERED: Final = 2000
_RETRY: Final = 10.0
"""Seconds after a refusal until it is tried again."""
_BACK_OFF: Final = 0.2
"""Seconds at most before the list is read for the second time; each failure doubles them."""


class Status(Enum):
    """How the connection is."""

    CONNECTING = "connecting"
    LIVE = "live"
    AWAY = "away"
    REFUSED = "refused"
    ENDED = "ended"
    """The credential is not valid any more, and this program has no other: nothing is tried again."""


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
        self.more = False
        """Whether there are more than MOST, of which only the first by name are known."""
        self.matching = ""
        """The filter with which the server lists them, where there are more."""
        self._filter = SessionFilter()
        self._on_news, self._on_status = on_news, on_status
        self._dirty: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed = 0.0

    async def run(self, client: AsyncClient) -> None:
        """Follows the server: reads the list page by page, then each change since its first page.

        Until cancelled, or until the server does not accept the credential.
        """
        failures = 0
        while self.status is not Status.ENDED:
            wait = _RETRY
            try:
                revision = await self._read(client)
                failures = 0
                async with aclosing(client.watch("-", revision, attempts=None)) as events:
                    async for event in events:
                        if isinstance(event, Reset):  # changes were missed
                            break
                        self.apply(event)
                wait = random.uniform(0, _BACK_OFF)  # noqa: S311 — jitter
            except Unavailable as error:
                self._set(Status.AWAY, error.message)
                failures += 1
                wait = random.uniform(0, min(_RETRY, _BACK_OFF * 2.0 ** min(failures, 10)))  # noqa: S311
            except Unauthenticated as error:
                self.end(error)
                return
            except NetvpsError as error:
                self._set(Status.REFUSED, error.message)
            await asyncio.sleep(wait)

    def end(self, error: Unauthenticated) -> None:
        """The server does not accept the credential: whatever call met that first, none is repeated."""
        self._set(Status.ENDED, error.message)

    async def _read(self, client: AsyncClient) -> int:
        """Reads all sessions, and shows the first page at once; returns the revision of that."""
        before, listed, revision, self.more = list(self.sessions), set[str](), 0, False
        async for page in client.list_session_pages("-", self.matching, first=_FIRST):
            for session in page.sessions:
                self._listed(session)
                listed.add(session.uid)
                if len(listed) % _AT_ONCE == 0:
                    await asyncio.sleep(0)  # a key comes first
            if not revision:
                revision = page.revision
                self._good()
                self._schedule(soon=True)
            if len(listed) >= MOST:
                self.more = True
                break
        for uid in before:
            if uid not in listed and self.sessions[uid].revision <= revision:
                del self.sessions[uid]
                self._dirty.add(uid)
        self.complete = True
        self._schedule(soon=True)
        return revision

    def narrow(self, matching: str) -> bool:
        """Has the server filter where there are too many to know all; whether `run` has to begin again for that.

        Raises InvalidInput.
        """
        self._filter = SessionFilter.parse(matching)
        if matching == self.matching or not (self.more or self.matching):
            return False
        self.matching = matching
        return True

    def _listed(self, session: Session) -> None:
        """Takes a session of the list in; it can be older than the answer to a call."""
        old = self.sessions.get(session.uid)
        if old is None or old.revision < session.revision:
            self.sessions[session.uid] = session
            self.progress.pop(session.uid, None)
            self._dirty.add(session.uid)
            self._schedule(soon=False)

    def _good(self) -> None:
        self.heard = time.monotonic()
        self._set(Status.LIVE, "")

    def apply(self, event: SessionEvent | Interrupted) -> None:
        """Takes an event in."""
        if isinstance(event, Interrupted):
            self._set(Status.AWAY, event.error.message)
            return
        self._good()
        session = event.session
        if session is None:
            return
        if event.type is EventType.PROGRESS:
            self.progress[session.uid] = session.message
        else:
            self._put(event, session)
        self._dirty.add(session.uid)
        self._schedule(soon=False)

    def _put(self, event: SessionEvent, session: Session) -> None:
        self.progress.pop(session.uid, None)
        old = self.sessions.get(session.uid)
        if event.type is EventType.DELETED:
            self.sessions.pop(session.uid, None)
        elif old is not None and old.revision > session.revision:
            return  # a list that comes again can be older than the answer to a call
        elif old is not None or self._is_wanted(session):
            self.sessions[session.uid] = session
        if self.complete and (old is None or old.revision != session.revision or event.type is EventType.DELETED):
            self.events.append(event)

    def _is_wanted(self, session: Session) -> bool:
        """Whether a session that is not known is to be shown: not all are, where there are too many."""
        if not (self.more or self.matching):
            return True
        return len(self.sessions) < MOST and self._filter.matches(session)

    def answer(self, session: Session) -> None:
        """Takes in the answer to a call, which may come before the watch tells the same."""
        known = self.sessions.get(session.uid)
        if known is not None and known.revision < session.revision:
            self.sessions[session.uid] = session
            self._dirty.add(session.uid)
            self._schedule(soon=True)

    def _set(self, status: Status, error: str) -> None:
        if self.status is Status.ENDED:
            return
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
