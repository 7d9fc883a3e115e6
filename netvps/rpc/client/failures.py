"""Converts failed calls to errors for the client: errors of netvps unchanged, gRPC's own ones with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from netvps.errors import Exhausted, InternalError, NetvpsError, TimedOut, Unauthenticated, Unavailable, WrongState
from netvps.rpc.status import DETAILS_KEY, from_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.rpc.client.channel import Endpoint

_WRONG_TIME: Final = ("certificate is not yet valid", "certificate has expired")
"""Messages of gRPC's TLS library about certificate dates."""


def to_error(failure: grpc.RpcError, endpoint: Endpoint) -> NetvpsError:
    """The error behind a failed call to an endpoint, of the synchronous API or of grpc.aio."""
    code, message = failure.code(), failure.details() or ""
    metadata: Iterable[Any] = failure.trailing_metadata() or ()
    found = [value for key, value in metadata if key == DETAILS_KEY]
    details = found[0] if found else None
    return from_status(code, message, details) or _foreign(code, message, endpoint)


def no_server(endpoint: Endpoint) -> Unavailable:
    """The error for an endpoint where nothing listens."""
    if endpoint.local:
        remedy = "start one with: netvps up, or log in to another with: netvps login HOST"
    else:
        remedy = "check the address, the network and that the server runs"
    return Unavailable(f"no netvps server answers at {endpoint.address}: {remedy}", reason="NO_SERVER")


def _foreign(code: grpc.StatusCode, message: str, endpoint: Endpoint) -> NetvpsError:
    """The error for a status that gRPC itself generated."""
    at = endpoint.address
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return _unreachable(message, endpoint)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut(f"the server at {at} did not answer in time: check whether it took effect, then try again")
        case grpc.StatusCode.CANCELLED:
            return Unavailable(f"the call to {at} was interrupted: try again")
        case grpc.StatusCode.UNIMPLEMENTED:
            return WrongState(
                f"the server at {at} does not know this call: it is of another version, update the older of the two",
                reason="OTHER_VERSION",
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Exhausted(f"the call to {at} went over a limit of the transport: {message}")
        case _:
            return InternalError(f"the call to {at} failed ({code.name}): {message or 'no details'}; please report it")


def is_about_time(message: str) -> bool:
    """Whether a TLS handshake failed because of a certificate's dates."""
    return any(words in message for words in _WRONG_TIME)


def _unreachable(message: str, endpoint: Endpoint) -> NetvpsError:
    at = endpoint.address
    if is_about_time(message):
        from netvps.rpc.client.clocks import wrong_clock  # on demand: imports ssl

        return wrong_clock(endpoint)
    if "CERTIFICATE_VERIFY_FAILED" in message or "certificate verify failed" in message:
        return Unauthenticated(
            f"the server at {at} shows a certificate of another CA than the one that was pinned: if it was set up "
            f"again, log in again with: netvps login {at}; if not, another machine may be in between",
            reason="OTHER_CA",
        )
    lowered = message.lower()
    if "permission denied" in lowered:
        return Unavailable(f"may not open {at}: Permission denied; check the rights of its folder")
    if "certificate_required" in lowered or "bad_certificate" in lowered:
        return Unauthenticated(f"the server at {at} refused the certificate: join again", reason="BAD_CERTIFICATE")
    if "socket closed" in lowered or "goaway" in lowered or "reset" in lowered:
        return Unavailable(f"the connection to {at} broke: try again")
    return no_server(endpoint)
