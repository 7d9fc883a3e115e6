"""A gRPC server with the common parts: options, health, reflection, the guard, and its address and certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from netvps.errors import ConfigError
from netvps.rpc.server.interceptors import Guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netvps.rpc.mesh.passing import Passing
    from netvps.rpc.server.authenticators import Authenticator
    from netvps.rpc.server.call_audit import CallAudit
    from netvps.rpc.server.open_calls import OpenCalls

    Registration = Callable[[grpc.aio.Server], None]

MAX_STREAMS = 2048
"""Maximum streams per connection; an agent has one for each connection into its session."""
OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port in use is an error, instead of being shared
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.keepalive_timeout_ms", 10_000),  # also TCP_USER_TIMEOUT
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),  # without a call; clients reconnect automatically
)


KEEPALIVE_MS = 20_000
"""Interval of pings to clients."""
PATIENT_MS = (1 << 31) - 2
"""Never: the agent of a paused session is frozen, and answers no ping for days. Its connection ends with its runner,
which relays it; runners have heartbeats, and a peer that vanished is detected by the next data sent to it. With
2^31 - 1, gRPC would not set TCP_USER_TIMEOUT either.
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses to listen on: a path, and "HOST:PORT" (PORT 0: chosen by the kernel). None disables one."""

    socket: Path | None = None
    api: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's certificate and key, and the CA that signed it and all client certificates; PEM."""

    certificate: str
    key: str
    ca: str


class Listener:
    """One gRPC server on one address, with one authenticator."""

    def __init__(
        self,
        setting: str,
        authenticate: Authenticator,
        services: dict[str, Registration],
        calls: OpenCalls,
        audit: CallAudit,
        *,
        max_message: int,
        system: bool = True,
        keepalive_ms: int = KEEPALIVE_MS,
        passing: Passing | None = None,
    ) -> None:
        """`setting` names it in errors; `services` maps full names to functions that add the servicer to a server.

        `max_message` is the maximum size of a client's message in bytes. `system` adds health and reflection, which
        need no credential. `keepalive_ms` is the interval of pings. `passing` passes calls of runners on to
        other servers.
        """
        self._setting = setting
        self._names = list(services)
        self._server = grpc.aio.server(
            interceptors=[Guard(authenticate, calls, audit, passing)],
            options=(
                *OPTIONS,
                ("grpc.max_receive_message_length", max_message),
                ("grpc.keepalive_time_ms", keepalive_ms),
            ),
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        for register in services.values():
            register(self._server)
        if system:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            described = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(described, self._server)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Binds to "HOST:PORT" or "unix:PATH" and returns the port. Raises ConfigError if that fails."""
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise ConfigError(
                f"cannot listen on {address} ({self._setting}): another program has this port, or the address is not "
                "of this machine; stop that program (ss -ltnp shows it), or choose another address",
                reason="ADDRESS_TAKEN",
            ) from None

    async def start(self) -> None:
        """Starts serving."""
        await self._server.start()
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Reports to health checks that it will stop; continues to serve."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Accepts no new calls, gives running ones `grace` seconds, then aborts them."""
        await self._server.stop(grace)


def tls(certificate: str, key: str, client_ca: str | None = None) -> grpc.ServerCredentials:
    """Server credentials, all PEM; with `client_ca`, clients must present a certificate of that CA."""
    pair = [(key.encode(), certificate.encode())]
    root: Any = client_ca.encode() if client_ca else None
    return grpc.ssl_server_credentials(pair, root, client_ca is not None)
