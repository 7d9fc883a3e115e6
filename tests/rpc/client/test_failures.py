"""Failed calls, in words."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from netvps.errors import (
    Exhausted,
    InternalError,
    NetvpsError,
    NotFound,
    TimedOut,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from netvps.rpc.client.channel import Endpoint, channel_credentials, split_address
from netvps.rpc.client.failures import to_error
from netvps.rpc.status import DETAILS_KEY, to_status

CODE = grpc.StatusCode
SOCKET, REMOTE = Endpoint("unix:/run/netvps/api.sock"), Endpoint("vps.example.org:7443", "PEM", "nv_a_secret")


class Failed(grpc.RpcError):
    def __init__(self, code: CODE, details: str, metadata: Any = ()) -> None:
        self._said = code, details, metadata

    def code(self) -> CODE:
        return self._said[0]

    def details(self) -> str:
        return self._said[1]

    def trailing_metadata(self) -> Any:
        return self._said[2]


@pytest.mark.parametrize(
    ("endpoint", "code", "details", "cls", "sentence"),
    [
        (SOCKET, CODE.UNAVAILABLE, "Connection refused", Unavailable, "api.sock: start one with: netvps up"),
        (REMOTE, CODE.UNAVAILABLE, "Connection refused", Unavailable, "vps.example.org:7443: check the address"),
        (REMOTE, CODE.UNAVAILABLE, "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", Unauthenticated, "another CA"),
        (SOCKET, CODE.UNAVAILABLE, "Permission denied", Unavailable, "may not open unix:/run/netvps/api.sock"),
        (REMOTE, CODE.UNAVAILABLE, "Socket closed", Unavailable, "vps.example.org:7443 broke: try again"),
        (REMOTE, CODE.UNAVAILABLE, "tlsv13 alert CERTIFICATE_REQUIRED", Unauthenticated, "refused the certificate"),
        (REMOTE, CODE.DEADLINE_EXCEEDED, "", TimedOut, "did not answer in time"),
        (REMOTE, CODE.CANCELLED, "", Unavailable, "was interrupted"),
        (REMOTE, CODE.UNIMPLEMENTED, "", WrongState, "is of another version"),
        (REMOTE, CODE.RESOURCE_EXHAUSTED, "message too large", Exhausted, "message too large"),
        (REMOTE, CODE.UNKNOWN, "", InternalError, "failed (UNKNOWN): no details; please report it"),
    ],
)  # fmt: skip
def test_what_grpc_says_in_words(
    endpoint: Endpoint, code: CODE, details: str, cls: type[NetvpsError], sentence: str
) -> None:
    error = to_error(Failed(code, details), endpoint)
    assert type(error) is cls
    assert sentence in str(error)
    assert "secret" not in str(error)


def test_an_error_of_the_server_passes_unchanged() -> None:
    code, message, details = to_status(NotFound("no session a.b: see netvps ls"))
    error = to_error(Failed(code, message, ((DETAILS_KEY, details),)), REMOTE)
    assert (type(error), str(error)) == (NotFound, "no session a.b: see netvps ls")


def test_addresses() -> None:
    assert split_address("vps.example.org:7443") == ("vps.example.org", 7443)
    assert split_address("[2001:db8::1]:7443") == ("2001:db8::1", 7443)
    for bad in ("vps", ":7443", "vps:0", "vps:65536", "vps:x"):
        with pytest.raises(NetvpsError, match="is not HOST:PORT"):
            split_address(bad)


def test_an_endpoint_does_not_show_its_key() -> None:
    assert "secret" not in repr(REMOTE)
    assert isinstance(channel_credentials("PEM"), grpc.ChannelCredentials)
