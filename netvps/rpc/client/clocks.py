"""Distinguishes a wrong clock from a wrong server: both fail the TLS handshake, but only one may be an attack."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from netvps.domain.server import INTERNAL_NAME
from netvps.errors import InvalidInput, Unavailable
from netvps.rpc.client.channel import CLOCK, split_address

if TYPE_CHECKING:
    from netvps.rpc.client.channel import Endpoint

_SECONDS: Final = 5.0
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL; Python's ssl has no name for it."""
_STAMP: Final = "%Y-%m-%d %H:%M"

Validity = tuple[datetime, datetime]


def wrong_clock(endpoint: Endpoint, validity: Validity | None = None) -> Unavailable:
    """The error for a certificate that is not valid by this machine's clock.

    `validity` is that of a certificate whose signature was verified without checking the time; without it, the validity
    of the CA is shown.
    """
    found = validity or _of_ca(endpoint)
    now = f"{datetime.now(UTC):{_STAMP}} UTC"
    dates = f"valid from {found[0]:{_STAMP}} to {found[1]:{_STAMP}} UTC" if found else "not valid now"
    return Unavailable(
        f"the certificate of the server at {endpoint.address} is {dates}, and this machine's clock says {now}: set the"
        " clock that is wrong, here or there (timedatectl set-ntp true)"
        + ("; it is the right server" if validity else ""),
        reason=CLOCK,
    )


def served_validity(endpoint: Endpoint) -> Validity | None:
    """The validity period of the server's certificate, verified against the CA without checking the time.

    None if the verification fails: then it may be another server. Blocks for a few seconds at most.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= _NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
    with suppress(OSError, ValueError, InvalidInput):  # ssl.SSLError is an OSError
        context.load_verify_locations(cadata=endpoint.ca_certificate)
        connection = socket.create_connection(split_address(endpoint.address), _SECONDS)
        with closing(connection), context.wrap_socket(connection, server_hostname=INTERNAL_NAME) as secure:
            return _dates(dict(secure.getpeercert() or {}))
    return None


def _of_ca(endpoint: Endpoint) -> Validity | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(ssl.SSLError, ValueError):
        context.load_verify_locations(cadata=endpoint.ca_certificate)
        for found in context.get_ca_certs():
            return _dates(dict(found))
    return None


def _dates(certificate: dict[str, object]) -> Validity:
    """The validity period of a certificate. Raises ValueError if it has no dates."""
    begin, end = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate.get(name, ""))), UTC)
        for name in ("notBefore", "notAfter")
    )
    return begin, end
