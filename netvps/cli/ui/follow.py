"""Events of sessions for as long as they are wanted: resumed after every break, and never blocking Ctrl-C."""

from __future__ import annotations

import queue
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.session.event import EventType, SessionEvent
from netvps.errors import NetvpsError, TooOld, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netvps.domain.session.session import Session
    from netvps.rpc.client.client import Client

_QUEUE: Final = 256
_ATTEMPTS: Final = 8
_BACK_OFF: Final = 0.2
_BACK_OFF_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over; why, if that is an error."""

    error: BaseException | None


class _Reader:
    """Where a reader of events is, and which sessions it knows."""

    def __init__(self, revision: int, known: Iterable[Session]) -> None:
        self.revision = revision
        """To resume from; 0 until a list is complete, for its sessions come by name and not by revision."""
        self._known = {session.uid: session for session in known}
        self._listed: set[str] | None = None

    def begin(self) -> None:
        """A stream begins, with a list unless it resumes."""
        self._listed = None if self.revision else set()

    def take(self, event: SessionEvent) -> Iterator[SessionEvent]:
        """The event, and before the end of a list those sessions that are gone since they were known."""
        session = event.session
        if session is not None:
            self._known[session.uid] = session
            if event.type is EventType.DELETED:
                del self._known[session.uid]
        if self._listed is None:
            self.revision = max(self.revision, event.revision)
        elif session is not None:
            self._listed.add(session.uid)
        elif event.type is EventType.CAUGHT_UP:
            yield from self._gone(self._listed, event.revision)
            self.revision, self._listed = event.revision, None
        yield event

    def _gone(self, listed: set[str], revision: int) -> Iterator[SessionEvent]:
        for uid, session in list(self._known.items()):
            if uid not in listed and session.revision <= revision:
                del self._known[uid]
                yield SessionEvent(EventType.DELETED, session, revision)


def resumed(
    client: Client, parent: str, from_revision: int, closed: threading.Event, known: Iterable[Session] = ()
) -> Iterator[SessionEvent]:
    """Events after a revision (0: the list first), until `closed`. A break is resumed where it was.

    Where that is not possible the list comes again, with a DELETED for each session that came before, or is `known`,
    and is gone. Raises Unavailable after eight attempts in a row, about half a minute, that came to the end of no list
    and to no event after one: the server is away, or changes come faster than they are read.
    """
    reader, failures = _Reader(from_revision, known), 0
    while not closed.is_set():
        reader.begin()
        try:
            for event in client.watch_sessions(parent, reader.revision):
                yield from reader.take(event)
                if reader.revision:
                    failures = 0
            failure: Unavailable = Unavailable("the server ended the stream of events; try again")
        except TooOld as error:
            reader.revision = 0
            failure = Unavailable(f"changes come faster than they can be read here ({error}); watch fewer sessions")
        except Unavailable as error:
            failure = error
        failures += 1
        if failures >= _ATTEMPTS:
            raise failure
        closed.wait(random.uniform(0, min(_BACK_OFF_MAX, _BACK_OFF * 2**failures)))  # noqa: S311 — jitter


class Pump:
    """Reads events in a thread, so that whoever waits for them can draw, look at the clock, and be interrupted."""

    def __init__(self, client: Client, parent: str, from_revision: int, known: Iterable[Session] = ()) -> None:
        self._queue: queue.Queue[SessionEvent | _Ended] = queue.Queue(_QUEUE)
        self._closed = threading.Event()
        self._events = resumed(client, parent, from_revision, self._closed, known)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def next(self, timeout: float) -> SessionEvent | None:
        """The next event, or None after `timeout` seconds without one. Raises what ended the stream."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, _Ended):
            raise item.error or Unavailable("the server ended the stream of events; try again")
        return item

    def close(self) -> None:
        """Lets the thread end; it does so at the next event, or when the client closes."""
        self._closed.set()

    def _run(self) -> None:
        try:
            for event in self._events:
                if not self._put(event):
                    return
            self._put(_Ended(None))
        except NetvpsError as error:
            self._put(_Ended(error))
        except Exception as error:  # noqa: BLE001 — a bug has to reach the main thread
            self._put(_Ended(error))

    def _put(self, item: SessionEvent | _Ended) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False


@contextmanager
def pumped(client: Client, parent: str, from_revision: int, known: Iterable[Session] = ()) -> Iterator[Pump]:
    """Events as of `resumed`, for the block."""
    pump = Pump(client, parent, from_revision, known)
    try:
        yield pump
    finally:
        pump.close()
