"""Streams of the Docker library (events, logs, pulls) as async iterators: bounded, and ended at any time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_AHEAD = 8


class Closable(Protocol[T_co]):
    """docker.types.CancellableStream: may be closed by another thread while it is being read."""

    def __iter__(self) -> Iterator[T_co]:
        """The items."""

    def close(self) -> None:
        """Ends the iteration."""


class _End:
    """Comes last."""


async def iterate(open_stream: Callable[[], Closable[T]], name: str) -> AsyncGenerator[T, None]:
    """The items of a stream that is opened and read in a thread of its own; the library's errors come out as such."""
    pump = _Pump(open_stream, name)
    try:
        while True:
            item = await pump.next()
            if isinstance(item, _End):
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        pump.close()


class _Pump(Generic[T]):
    """The thread that reads, at most a few items ahead: that holds the engine back, and bounds our memory."""

    def __init__(self, open_stream: Callable[[], Closable[T]], name: str) -> None:
        self._open_stream = open_stream
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[T | Exception | _End] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._stream: Closable[T] | None = None
        self._closed = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def next(self) -> T | Exception | _End:
        item = await self._items.get()
        self._room.release()
        return item

    def close(self) -> None:
        """Ends the reading; the thread is gone soon after."""
        self._closed = True
        self._room.release()
        if self._stream:
            with suppress(Exception):  # it may be at its end just now
                self._stream.close()

    def _work(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 — it is raised where the items are read
            self._put(error)
        else:
            self._put(_End())
        finally:
            # The library's `close` shuts the socket down, for other threads; the response has to be let go of here.
            if response := getattr(self._stream, "_response", None):
                with suppress(Exception):
                    response.close()

    def _read(self) -> None:
        self._stream = self._open_stream()
        for item in self._stream:
            if self._closed:
                return
            self._put(item)

    def _put(self, item: T | Exception | _End) -> None:
        if self._closed:
            return
        self._room.acquire()
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
