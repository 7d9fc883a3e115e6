"""Calls on a synchronous channel: deadlines, retries, pages, streams, and conversion of errors."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import grpc

from netvps.errors import ConfigError, Unavailable
from netvps.rpc.client.channel import CLOCK, OPTIONS, TLS_OPTIONS, Endpoint, channel_credentials
from netvps.rpc.client.failures import no_server, to_error
from netvps.rpc.client.retries import service_config

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from netvps.errors import NetvpsError
    from netvps.rpc.client.calls.call import Pages, Stream, Unary

R = TypeVar("R")

UNARY_TIMEOUT: Final = 30.0
"""Seconds for a unary call with all its retries."""
PAGE_SIZE: Final = 500
_API: Final = "/netvps.api.v1."


class Transport:
    """A channel to one endpoint; `timeout` is in seconds, for each unary call."""

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

    def close(self) -> None:
        """Aborts running calls and closes the channel. Idempotent."""
        self.channel.close()

    def call(self, unary: Unary[R]) -> R:
        """Makes a unary call."""
        return unary.read(self._answer(unary, unary.timeout))

    def pages(self, pages: Pages[R]) -> Iterator[R]:
        """Yields the items of all pages of a list, fetched on demand; a size in the request is the first's."""
        pages.request.page_size = pages.request.page_size or PAGE_SIZE
        while True:
            page = self._answer(pages)
            yield from pages.read(page)
            if not page.next_page_token:
                return
            pages.request.page_token, pages.request.page_size = page.next_page_token, PAGE_SIZE

    def stream(self, stream: Stream[R]) -> Generator[R, None, None]:
        """Yields the converted answers to a request; close() cancels the call."""
        method = self.channel.unary_stream(
            path(stream.method), type(stream.request).SerializeToString, stream.response.FromString
        )
        return self._read(lambda: method(stream.request, stream.timeout, self._metadata), stream.read)

    def duplex(
        self, method: str, requests: Iterator[Any], response: Any, read: Callable[[Any], R]
    ) -> Generator[R, None, None]:
        """Yields the converted answers to an iterator of requests, which is read on another thread."""
        call = self.channel.stream_stream(path(method), serialized, response.FromString)
        return self._read(lambda: call(requests, None, self._metadata), read)

    def _answer(self, call: Unary[Any] | Pages[Any], seconds: float | None = None) -> Any:
        require_socket(self._endpoint)
        method = self.channel.unary_unary(
            path(call.method), type(call.request).SerializeToString, call.response.FromString
        )
        try:
            return method(call.request, seconds or self._timeout, self._metadata)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def _read(self, begin: Callable[[], Any], read: Callable[[Any], R]) -> Generator[R, None, None]:
        require_socket(self._endpoint)
        call = begin()
        try:
            for message in call:
                yield read(message)
        except grpc.RpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()

    def _error(self, failure: grpc.RpcError) -> NetvpsError:
        return with_served_dates(to_error(failure, self._endpoint), self._endpoint)


def _open(endpoint: Endpoint) -> grpc.Channel:
    credentials, options = channel_arguments(endpoint)
    if credentials is None:
        return grpc.insecure_channel(endpoint.address, options)
    return grpc.secure_channel(endpoint.address, credentials, options)


def channel_arguments(endpoint: Endpoint) -> tuple[grpc.ChannelCredentials | None, list[tuple[str, Any]]]:
    """Credentials and options of a channel. Raises ConfigError if the CA of a remote server is not known."""
    config = ("grpc.service_config", service_config())
    if endpoint.local:
        return None, [*OPTIONS, config]
    if endpoint.ca_certificate is None:
        raise ConfigError(
            f"the CA of {endpoint.address} is not known: log in first with: netvps login {endpoint.address}"
        )
    return channel_credentials(endpoint.ca_certificate), [*TLS_OPTIONS, config]


def metadata(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What each call carries: the API key."""
    return (("authorization", f"Bearer {endpoint.api_key}"),) if endpoint.api_key is not None else ()


def path(method: str) -> str:
    """The path of "Service/Method"."""
    return _API + method


def serialized(message: Any) -> bytes:
    """A protobuf message as bytes."""
    data: bytes = message.SerializeToString()
    return data


def with_served_dates(error: NetvpsError, endpoint: Endpoint) -> NetvpsError:
    """The error; if it is about certificate dates, with those that the server shows. Then it blocks for seconds."""
    if error.reason != CLOCK:
        return error
    from netvps.rpc.client.clocks import served_validity, wrong_clock

    return wrong_clock(endpoint, served_validity(endpoint))


def require_socket(endpoint: Endpoint) -> None:
    """Raises Unavailable at once if a local socket is missing, because gRPC would retry."""
    if not endpoint.local:
        return
    try:
        Path(endpoint.path).stat()
    except FileNotFoundError:
        raise no_server(endpoint) from None
    except OSError as error:
        raise Unavailable(f"cannot reach {endpoint.address}: {error.strerror}") from None
