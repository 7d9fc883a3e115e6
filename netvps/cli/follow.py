"""Events of sessions for as long as somebody wants them: resumed after every break, and never blocking Ctrl-C."""

from __future__ import annotations

import queue
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.errors import NetvpsError, TooOld, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.event import SessionEvent
    from netvps.rpc.client import Client

_QUEUE: Final = 256
_ATTEMPTS: Final = 8
_BACK_OFF: Final = 0.2
_BACK_OFF_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over; why, if that is an error."""

    error: BaseException | None


def resumed(client: Client, parent: str, from_revision: int, closed: threading.Event) -> Iterator[SessionEvent]:
    """Events after a revision (0: the list first), until `closed`. A break is resumed where it was.

    Raises Unavailable once the server was away for eight attempts in a row, about half a minute.
    """
    revision, failures = from_revision, 0
    while not closed.is_set():
        try:
            for event in client.watch_sessions(parent, revision):
                revision, failures = max(revision, event.revision), 0
                yield event
            failure: Unavailable = Unavailable("the server ended the stream of events; try again")
        except TooOld:
            revision = 0
            continue
        except Unavailable as error:
            failure = error
        failures += 1
        if failures >= _ATTEMPTS:
            raise failure
        closed.wait(random.uniform(0, min(_BACK_OFF_MAX, _BACK_OFF * 2**failures)))  # noqa: S311 — jitter


class Pump:
    """Reads events in a thread, so that whoever waits for them can draw, look at the clock, and be interrupted."""

    def __init__(self, client: Client, parent: str, from_revision: int) -> None:
        self._queue: queue.Queue[SessionEvent | _Ended] = queue.Queue(_QUEUE)
        self._closed = threading.Event()
        self._events = resumed(client, parent, from_revision, self._closed)
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
def pumped(client: Client, parent: str, from_revision: int) -> Iterator[Pump]:
    """Events after a revision (0: the list first), for the block."""
    pump = Pump(client, parent, from_revision)
    try:
        yield pump
    finally:
        pump.close()
