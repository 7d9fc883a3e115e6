"""Turns streams of the Docker library (events, logs, pulls) into bounded, cancellable async iterators."""

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
    """docker.types.CancellableStream: another thread may close it while it is being read."""

    def __iter__(self) -> Iterator[T_co]:
        """The items."""

    def close(self) -> None:
        """Ends the iteration."""


def close_response(stream: Closable[T] | None) -> None:
    """Frees what a stream holds. The library's `close`, made for other threads, only shuts the socket down."""
    if response := getattr(stream, "_response", None):
        with suppress(Exception):
            response.close()


class _End:
    """Marks the end of the stream."""


async def iterate(open_stream: Callable[[], Closable[T]], name: str) -> AsyncGenerator[T, None]:
    """Yields the items of a stream that a separate thread opens and reads; re-raises the library's errors."""
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
    """The reading thread. It reads only a few items ahead, which slows the engine down and bounds memory."""

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
        """Stops reading; the thread ends soon after."""
        self._closed = True
        self._room.release()
        if self._stream:
            with suppress(Exception):  # it may have just ended
                self._stream.close()

    def _work(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 — re-raised where the items are read
            self._put(error)
        else:
            self._put(_End())
        finally:
            close_response(self._stream)

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
        with suppress(RuntimeError):  # the loop is closed: the program ends
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
