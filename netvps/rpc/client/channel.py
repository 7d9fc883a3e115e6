"""Server endpoints: addresses, trust, credentials and channel options."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from netvps.domain.checks import shown
from netvps.domain.server import INTERNAL_NAME
from netvps.errors import InvalidInput

CLOCK = "CLOCK"
"""Reason of errors about wrong clocks."""
_UNIX = "unix:"

OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # despite its name: how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.enable_http_proxy", 0),  # servers are reached directly; HTTP_PROXY is for web traffic
    ("grpc.service_config_disable_resolution", 1),
)
TLS_OPTIONS = (*OPTIONS, ("grpc.ssl_target_name_override", INTERNAL_NAME), ("grpc.default_authority", INTERNAL_NAME))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server: "unix:/…sock" on this machine, or "HOST:PORT" with the PEM of its CA and, for users, an API key."""

    address: str
    ca_certificate: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def local(self) -> bool:
        """Whether it is a Unix socket, where the kernel authenticates the caller."""
        return self.address.startswith(_UNIX)

    @property
    def path(self) -> str:
        """The path of a local socket."""
        return self.address.removeprefix(_UNIX)


def split_address(address: str) -> tuple[str, int]:
    """Splits "HOST:PORT" or "[IPV6]:PORT" into (HOST, PORT). Raises InvalidInput."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 1 << 16 or not host:
        raise InvalidInput.of("address", f"{shown(address)} is not HOST:PORT, for example vps.example.org:7443")
    return host.removeprefix("[").removesuffix("]"), int(port)


def channel_credentials(
    ca_certificate: str, certificate: str | None = None, key: str | None = None
) -> grpc.ChannelCredentials:
    """TLS that trusts only `ca_certificate`, anonymous or with a client certificate; all PEM."""
    return grpc.ssl_channel_credentials(
        ca_certificate.encode(),
        key.encode() if key else None,
        certificate.encode() if certificate else None,
    )
