"""Events of sessions for as long as they are wanted: resumed after every break, and never blocking Ctrl-C."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.session.event import SessionEvent
from netvps.errors import NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netvps.client import Client
    from netvps.domain.session.session import Session

_QUEUE: Final = 256


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over; why, if that is an error."""

    error: BaseException | None


class Pump:
    """Reads events in a thread, so that whoever waits for them can draw, look at the clock, and be interrupted."""

    def __init__(self, client: Client, parent: str, from_revision: int, known: Iterable[Session] = ()) -> None:
        self._queue: queue.Queue[SessionEvent | _Ended] = queue.Queue(_QUEUE)
        self._closed = threading.Event()
        self._events = client.watch(parent, from_revision, known=known, pause=self._closed.wait)
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
                if isinstance(event, SessionEvent) and not self._put(event):
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
    """Events of Client.watch, for the block."""
    pump = Pump(client, parent, from_revision, known)
    try:
        yield pump
    finally:
        pump.close()
