"""First contact with a server, before its CA is known (trust on first use)."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

from netvps.errors import InvalidInput, Unavailable
from netvps.rpc.client.calls.machines import server_info
from netvps.rpc.client.channel import Endpoint, split_address
from netvps.rpc.client.failures import no_server
from netvps.rpc.client.transport import Transport

if TYPE_CHECKING:
    from netvps.domain.server import ServerInfo

_TIMEOUT = 10.0


def fetch_server_info(address: str) -> ServerInfo:
    """Fetches the information of the server at "HOST:PORT", over TLS that trusts the certificate that it presents.

    The answer is not authenticated: compare the CA's fingerprint with one from another channel, or pin it. Raises
    InvalidInput for a malformed address, Unavailable if there is no answer.
    """
    host, port = split_address(address)
    try:
        leaf = ssl.get_server_certificate((host, port), timeout=_TIMEOUT)
    except TimeoutError:
        raise Unavailable(f"{address} does not answer: check the address, and firewalls in between") from None
    except ssl.SSLError:
        raise Unavailable(f"the program at {address} does not speak TLS: check that the port is the API's") from None
    except OSError:
        raise no_server(Endpoint(address)) from None
    # gRPC accepts a leaf certificate as root (X509_V_FLAG_PARTIAL_CHAIN), so the second connection reaches the same
    # server.
    transport = Transport(Endpoint(address, leaf))
    try:
        return transport.call(server_info())
    finally:
        transport.close()


def fingerprint(certificate: str) -> str:
    """SHA-256 in hex of a PEM certificate's DER. Raises InvalidInput."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    except ValueError:
        raise InvalidInput.of("ca_certificate", "it is not a certificate in PEM") from None
