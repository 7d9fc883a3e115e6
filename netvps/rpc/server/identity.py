"""The identity behind a call: set by the interceptor, required by servicers."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Caller
from netvps.domain.access.identity import Certified, RunnerIdentity, ServerIdentity, SessionIdentity, parse_identity
from netvps.errors import InvalidInput, NotPermitted, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCHEME = "netvps:"

# Set once per call: gRPC runs each call in its own task, which has its own context.
current: ContextVar[Caller | Certified] = ContextVar("identity")


def caller() -> Caller:
    """The person or program that calls. Raises NotPermitted for a machine."""
    identity = current.get()
    if not isinstance(identity, Caller):
        raise NotPermitted(f"this call is for users, not for {shown_as(identity)}: use an API key")
    return identity


def runner() -> RunnerIdentity:
    """The runner that calls. Raises NotPermitted for any other caller."""
    identity = current.get()
    if not isinstance(identity, RunnerIdentity):
        raise NotPermitted(f"this call is for runners, not for {shown_as(identity)}: use a runner's certificate")
    return identity


def session() -> SessionIdentity:
    """The session whose agent calls. Raises NotPermitted for any other caller."""
    identity = current.get()
    if not isinstance(identity, SessionIdentity):
        raise NotPermitted(f"this call is for sessions, not for {shown_as(identity)}: use a session's certificate")
    return identity


def server() -> ServerIdentity:
    """The server that calls. Raises NotPermitted for any other caller."""
    identity = current.get()
    if not isinstance(identity, ServerIdentity):
        raise NotPermitted(f"this call is for servers, not for {shown_as(identity)}: use a server's certificate")
    return identity


def certified() -> RunnerIdentity | SessionIdentity:
    """The runner or session that calls. Raises NotPermitted for any other caller."""
    identity = current.get()
    if isinstance(identity, Caller | ServerIdentity):
        raise NotPermitted(f"this call is for runners and sessions, not for {shown_as(identity)}: use a certificate")
    return identity


def of_certificate(auth: Mapping[str, Iterable[bytes]]) -> Certified:
    """The identity in a verified client certificate (gRPC's auth context), which must have exactly one netvps URI.

    Raises Unauthenticated.
    """
    names = [name.decode(errors="replace") for name in auth.get("x509_subject_alternative_name", ())]
    uris = [name for name in names if name.startswith(_SCHEME)]
    try:
        (uri,) = uris
        return parse_identity(uri)
    except (ValueError, InvalidInput):
        raise Unauthenticated("your certificate names no runner, session or server: join again to get one") from None


def shown_as(identity: Caller | Certified) -> str:
    """An identity in errors and log lines."""
    return f"user {identity.user}" if isinstance(identity, Caller) else str(identity)
