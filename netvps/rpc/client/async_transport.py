"""As transport, on a channel of grpc.aio."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio

from netvps.rpc.client.channel import CLOCK
from netvps.rpc.client.failures import to_error
from netvps.rpc.client.transport import (
    PAGE_SIZE,
    UNARY_TIMEOUT,
    channel_arguments,
    metadata,
    path,
    require_socket,
    serialized,
    with_served_dates,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from netvps.errors import NetvpsError
    from netvps.rpc.client.calls.call import Pages, Stream, Unary
    from netvps.rpc.client.channel import Endpoint

R = TypeVar("R")


class AsyncTransport:
    """A channel to one endpoint, made in a running event loop; `timeout` is in seconds, for each unary call."""

    def __init__(self, endpoint: Endpoint, timeout: float = UNARY_TIMEOUT) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._metadata = metadata(endpoint)
        self.channel = _open(endpoint)

    def with_metadata(self, *also: tuple[str, str]) -> Self:
        """The same channel, for calls that carry this, too."""
        other = copy(self)
        other._metadata = (*self._metadata, *also)  # noqa: SLF001 — of the same class
        return other

    async def close(self) -> None:
        """Aborts running calls and closes the channel. Idempotent."""
        await self.channel.close(None)

    async def call(self, unary: Unary[R]) -> R:
        """Makes a unary call."""
        return unary.read(await self._answer(unary, unary.timeout))

    async def pages(self, pages: Pages[R]) -> AsyncIterator[R]:
        """Yields the items of all pages of a list, fetched on demand; a size in the request is the first's."""
        pages.request.page_size = pages.request.page_size or PAGE_SIZE
        while True:
            page = await self._answer(pages)
            for item in pages.read(page):
                yield item
            if not page.next_page_token:
                return
            pages.request.page_token, pages.request.page_size = page.next_page_token, PAGE_SIZE

    def stream(self, stream: Stream[R]) -> AsyncGenerator[R, None]:
        """Yields the converted answers to a request; aclose() cancels the call."""
        method = self.channel.unary_stream(path(stream.method), serialized, stream.response.FromString)
        return self._read(lambda: method(stream.request, timeout=stream.timeout, metadata=self._metadata), stream.read)

    def duplex(
        self, method: str, requests: AsyncIterator[Any], response: Any, read: Callable[[Any], R]
    ) -> AsyncGenerator[R, None]:
        """Yields the converted answers to an iterator of requests."""
        call = self.channel.stream_stream(path(method), serialized, response.FromString)
        return self._read(lambda: call(requests, metadata=self._metadata), read)

    async def _answer(self, call: Unary[Any] | Pages[Any], seconds: float | None = None) -> Any:
        require_socket(self._endpoint)
        method = self.channel.unary_unary(path(call.method), serialized, call.response.FromString)
        try:
            return await method(call.request, timeout=seconds or self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise await self._error(error) from None

    async def _read(self, begin: Callable[[], Any], read: Callable[[Any], R]) -> AsyncGenerator[R, None]:
        require_socket(self._endpoint)
        call = begin()
        try:
            async for message in call:
                yield read(message)
        except grpc.RpcError as error:
            raise await self._error(error) from None
        finally:
            call.cancel()

    async def _error(self, failure: grpc.RpcError) -> NetvpsError:
        error = to_error(failure, self._endpoint)
        return await asyncio.to_thread(with_served_dates, error, self._endpoint) if error.reason == CLOCK else error


def _open(endpoint: Endpoint) -> grpc.aio.Channel:
    credentials, options = channel_arguments(endpoint)
    if credentials is None:
        return grpc.aio.insecure_channel(endpoint.address, options)
    return grpc.aio.secure_channel(endpoint.address, credentials, options)
