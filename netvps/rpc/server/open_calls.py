"""Counts the open calls of each caller over all its connections, and enforces limits.

Each identity has its own limit, so that one with too many calls does not affect others. Callers without an identity are
counted by connection and by address (IPv6: by /64).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller
from netvps.domain.access.identity import RunnerIdentity, ServerIdentity, SessionIdentity
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from netvps.domain.access.identity import Certified

_PACKAGE: Final = "/netvps.api.v1."
_TOTAL: Final = ""
_IPV6_PREFIX: Final = 64


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Maximum open calls of one user."""

    calls_per_user: int = 1024
    watches_per_user: int = 256
    log_readers_per_user: int = 32
    commands_per_user: int = 128


SESSION_LIMITS: Final = {
    _TOTAL: 2560,
    f"{_PACKAGE}TunnelService/Control": 8,
    f"{_PACKAGE}CertificateService/RenewCertificate": 2,
}
"""Limits of a session's agent. The gateway has at most 2,000 connections into a session, and 256 more being opened."""
SESSION_UNOPENED: Final = 256
"""Maximum calls of a session's agent without a first message: as many as the gateway requests at once."""
RUNNER_LIMITS: Final = {
    _TOTAL: 2048,
    f"{_PACKAGE}RunnerLinkService/Connect": 8,
    f"{_PACKAGE}RunnerLinkService/SendLogs": 64,
    f"{_PACKAGE}RunnerLinkService/CarryFiles": 64,
    f"{_PACKAGE}CopyService/ReadCopy": 4,
    f"{_PACKAGE}CopyService/ReadImage": 4,
    f"{_PACKAGE}CopyService/SendCopy": 8,
    f"{_PACKAGE}CertificateService/RenewCertificate": 4,
}
SERVER_LIMITS: Final = {_TOTAL: 32_768, f"{_PACKAGE}MeshService/Nudge": 8}
"""Limits of another server, which calls for all of its users."""
METRICS_WATCHES: Final = 32
"""Maximum watches of metrics of one user."""
STRANGER_PER_CONNECTION: Final = 16
STRANGER_PER_ADDRESS: Final = 1024
"""Limits of calls without an identity: server info, joining, health, reflection."""


class OpenCalls:
    """Counts calls from start to end."""

    def __init__(self, limits: CallLimits | None = None) -> None:
        limits = limits or CallLimits()
        self._of_users = {
            _TOTAL: limits.calls_per_user,
            f"{_PACKAGE}SessionService/WatchSessions": limits.watches_per_user,
            f"{_PACKAGE}MetricsService/WatchMetrics": METRICS_WATCHES,
            f"{_PACKAGE}SnapshotService/WatchSnapshots": limits.watches_per_user,
            f"{_PACKAGE}SessionService/ReadSessionLogs": limits.log_readers_per_user,
            f"{_PACKAGE}SessionService/ExecSession": limits.commands_per_user,
            f"{_PACKAGE}TaskService/ReadTaskLogs": limits.log_readers_per_user,
        }
        self._open: Counter[tuple[str, str]] = Counter()
        """Counts by caller, and by method or `_TOTAL`."""
        self._unopened: Counter[str] = Counter()

    @contextmanager
    def of(self, who: Caller | Certified, method: str) -> Iterator[None]:
        """Counts a call of an identity. Raises Exhausted."""
        name, limits, remedy = self._limits(who)
        with self._counted(name, _TOTAL, limits[_TOTAL], f"calls; {remedy}"):
            if method not in limits:
                yield
                return
            short = method.rpartition("/")[2]
            with self._counted(name, method, limits[method], f"{short} calls; {remedy}"):
                yield

    @contextmanager
    def of_stranger(self, peer: str) -> Iterator[None]:
        """Counts a call without an identity; `peer` as gRPC reports it. Raises Exhausted."""
        address = address_of(peer)
        remedy = "calls without a credential; wait until some end"
        with (
            self._counted(f"address {address}", _TOTAL, STRANGER_PER_ADDRESS, remedy),
            self._counted(f"connection {peer}", _TOTAL, STRANGER_PER_CONNECTION, remedy),
        ):
            yield

    @contextmanager
    def unopened(self, who: Caller | Certified | None) -> Iterator[None]:
        """Counts a call until its first message arrives. Raises Exhausted for a session with too many of them."""
        if not isinstance(who, SessionIdentity):
            yield
            return
        name = f"session {who.uid}"
        if self._unopened[name] >= SESSION_UNOPENED:
            raise Exhausted(
                f"{name} has {SESSION_UNOPENED} streams without a first message: send it when a stream starts",
                reason="TOO_MANY_CALLS",
            )
        self._unopened[name] += 1
        try:
            yield
        finally:
            self._unopened[name] -= 1
            if not self._unopened[name]:
                del self._unopened[name]

    @contextmanager
    def _counted(self, name: str, what: str, limit: int, words: str) -> Iterator[None]:
        key = name, what
        if self._open[key] >= limit:
            raise Exhausted(f"{name} has {limit} open {words}", reason="TOO_MANY_CALLS")
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def _limits(self, who: Caller | Certified) -> tuple[str, Mapping[str, int], str]:
        match who:
            case Caller():
                return f"user {who.user}", self._of_users, "end some, or ask an operator to raise the server's limit"
            case RunnerIdentity():
                return f"runner {who.uid}", RUNNER_LIMITS, "wait until some end"
            case ServerIdentity():
                return f"server {who.uid}", SERVER_LIMITS, "wait until some end"
            case SessionIdentity():  # all epochs together
                return f"session {who.uid}", SESSION_LIMITS, "end some"


def address_of(peer: str) -> str:
    """The address in a peer as gRPC reports it: for IPv6 its /64, for the local socket the account."""
    kind, _, rest = peer.replace("%5B", "[").replace("%5D", "]").replace("%2F", "/").partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return rest.rpartition("/")[0] or rest
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return rest
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)
