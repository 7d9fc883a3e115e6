"""Calls on a synchronous channel: deadlines, retries, pages, streams, and conversion of errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from netvps.errors import ConfigError, Unavailable
from netvps.rpc.client.channel import OPTIONS, TLS_OPTIONS, Endpoint, channel_credentials
from netvps.rpc.client.failures import CLOCK, no_server, to_error
from netvps.rpc.client.retries import service_config

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from netvps.errors import NetvpsError

R = TypeVar("R")

UNARY_TIMEOUT = 30.0
_PAGE_SIZE = 500


class Transport:
    """A channel to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._metadata = (("authorization", f"Bearer {endpoint.api_key}"),) if endpoint.api_key else ()
        self.channel = _open(endpoint)

    def close(self) -> None:
        """Aborts running calls and closes the channel. Idempotent."""
        self.channel.close()

    def call(self, method: grpc.UnaryUnaryMultiCallable[Any, R], request: Any) -> R:
        """Makes a unary call."""
        self._require_socket()
        try:
            return method(request, timeout=UNARY_TIMEOUT, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def pages(self, method: grpc.UnaryUnaryMultiCallable[Any, R], request: Any) -> Iterator[R]:
        """Yields all pages of a list, fetched on demand."""
        request.page_size = _PAGE_SIZE
        while True:
            page: Any = self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream(self, method: Any, request: Any, read: Callable[[Any], R]) -> Generator[R, None, None]:
        """Yields the converted answers to a request, or to an iterator of requests; close() cancels the call."""
        self._require_socket()
        call = method(request, metadata=self._metadata)
        try:
            for message in call:
                yield read(message)
        except grpc.RpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()

    def _error(self, failure: grpc.RpcError) -> NetvpsError:
        """As `to_error`; if certificate dates are wrong, asks the server for its dates for the message."""
        error = to_error(failure, self._endpoint)
        if error.reason != CLOCK:
            return error
        from netvps.rpc.client.clocks import served_validity, wrong_clock

        return wrong_clock(self._endpoint, served_validity(self._endpoint))

    def _require_socket(self) -> None:
        # Fails at once if the socket is missing, because gRPC would retry.
        if not self._endpoint.local:
            return
        try:
            Path(self._endpoint.path).stat()
        except FileNotFoundError:
            raise no_server(self._endpoint) from None
        except OSError as error:
            raise Unavailable(f"cannot reach {self._endpoint.address}: {error.strerror}") from None


def _open(endpoint: Endpoint) -> grpc.Channel:
    config = ("grpc.service_config", service_config())
    if endpoint.local:
        return grpc.insecure_channel(endpoint.address, [*OPTIONS, config])
    if endpoint.ca_certificate is None:
        raise ConfigError(
            f"the CA of {endpoint.address} is not known: log in first with: netvps login {endpoint.address}"
        )
    return grpc.secure_channel(endpoint.address, channel_credentials(endpoint.ca_certificate), [*TLS_OPTIONS, config])
