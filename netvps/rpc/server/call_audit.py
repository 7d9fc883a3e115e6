"""What the audit log learns of calls: who called from where, about which resource, and what was refused."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from google.protobuf.descriptor import FieldDescriptor

from netvps.domain.access.accounts import Caller
from netvps.domain.access.audit import ALLOWED, AuditEvent
from netvps.domain.access.permissions import short_name
from netvps.errors import NetvpsError, NotPermitted, Unauthenticated
from netvps.services.auditing import AuditedCall, audited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from netvps.domain.access.identity import Certified

LOCAL: Final = "local"
_ACCESS: Final = frozenset(
    {
        "ImageService/BootstrapImage",
        "ImageService/BuildImage",
        "ImageService/DeleteImage",
        "ImageService/PublishImage",
        "ImageService/PullImage",
        "SessionService/ExecSession",
        "SessionService/ReadSessionLogs",
        "SnapshotService/DiffSession",
        "SnapshotService/ExportSnapshot",
        "SshKeyService/IssueSshCertificate",
        "SshKeyService/IssueSshTicket",
        "TaskService/ReadTaskLogs",
    }
)
"""Methods that change nothing in the store, but reach into a session, give access, or change the images of runners."""
_BY_TOKEN: Final = frozenset(
    {"EnrollmentService/JoinRunner", "LoginService/FinishLogin", "RegistrationService/RegisterUser"}
)
"""Methods of strangers that are recorded as those of people are: their token lets a machine or a person in."""
_TARGETS: Final = ("name", "parent")
_NEW: Final = {"session_id": "sessions", "user_id": "users"}
"""Fields that name a resource to be created, and its collection."""
_PASSED_ON: Final = re.compile(r"unix-abstract:netvps/link/([^/]+)/\w+")
_FAMILIES: Final = ("ipv4:", "ipv6:")


class AuditSink(Protocol):
    """Takes events for the audit log."""

    def note(self, event: AuditEvent) -> None:
        """Takes one."""

    def note_refusal(self, event: AuditEvent, source: str) -> None:
        """Takes one of possibly many from a source; those of a minute are summed up."""


class CallAudit:
    """Reports calls to a sink."""

    def __init__(self, sink: AuditSink) -> None:
        self._sink = sink

    @contextmanager
    def of(self, who: Caller | Certified | None, method: str, peer: str) -> Iterator[AuditedCall | None]:
        """Around a call; give the call that it yields its `target` once that is known. Yields None for machines.

        Also for strangers, unless their token lets a machine or a person in.
        """
        if not isinstance(who, Caller) and not (who is None and short_name(method) in _BY_TOKEN):
            yield None
            return
        call = AuditedCall(who.user if isinstance(who, Caller) else "", origin_of(peer), short_name(method))
        began, outcome = time.monotonic(), ALLOWED
        with audited(call):
            try:
                yield call
            except NetvpsError as error:
                outcome = error.reason
                if who is None or isinstance(error, NotPermitted):
                    self._sink.note_refusal(self._event(call, outcome), call.actor or _address(call.origin))
                raise
            finally:
                if call.action in _ACCESS and outcome != NotPermitted.default_reason:
                    seconds = f"{time.monotonic() - began:.1f}"
                    self._sink.note(self._event(call, outcome, ("seconds", seconds)))

    def unauthenticated(self, error: Unauthenticated, method: str, peer: str) -> None:
        """Reports a call without a valid credential."""
        origin = origin_of(peer)
        self._sink.note_refusal(AuditEvent("", origin, short_name(method), outcome=error.reason), _address(origin))

    def _event(self, call: AuditedCall, outcome: str, *more: tuple[str, str]) -> AuditEvent:
        return AuditEvent(call.actor, call.origin, call.action, call.target, outcome, (*call.details, *more))


def describe(call: AuditedCall, request: Any) -> None:
    """Sets the target of a call, and the ids that its request gives, from the first message."""
    texts = dict(_texts(request))
    for name, field in request.DESCRIPTOR.fields_by_name.items():  # of UpdateSession it is the session that has a name
        if field.message_type and not field.is_repeated and set(_TARGETS) & set(field.message_type.fields_by_name):
            texts = dict(_texts(getattr(request, name))) | texts
    named = [texts[name] for name in _TARGETS if texts.get(name)]
    named += [f"{collection}/{texts[name]}" for name, collection in _NEW.items() if texts.get(name)]
    owner = texts.get("owner", "").removeprefix("users/")
    call.target = _full(named[0], owner or call.actor) if named else ""
    ids = sorted((name, text) for name, text in texts.items() if name.endswith("_id") and name != "request_id")
    call.details = tuple((name, text) for name, text in ids if text)


def _full(target: str, user: str) -> str:
    """A resource name as others would write it: "sessions/dev1" of alice is "sessions/dev1.alice"."""
    collection, _, rest = target.partition("/")
    name, slash, child = rest.partition("/")
    if collection == "sessions" and name and "." not in name:
        name = f"{name}.{user}"
    elif collection == "users" and name == "me":
        name = user
    return f"{collection}/{name}{slash}{child}" if rest else target


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Names of resources and ids; never contents, which may be secrets."""
    for name, field in message.DESCRIPTOR.fields_by_name.items():
        if (
            field.type == FieldDescriptor.TYPE_STRING
            and not field.is_repeated
            and (name in {*_TARGETS, "owner"} or name.endswith("_id"))
        ):
            yield name, getattr(message, name)


def _address(origin: str) -> str:
    return origin.rpartition(":")[0]


def origin_of(peer: str) -> str:
    """The address of a peer as gRPC reports it: "192.0.2.1:4711", "[2001:db8::1]:4711", or "local".

    The process before the tunnel's port (tunnel/front) connects from an abstract address that tells the peer's.
    """
    if (passed_on := _PASSED_ON.fullmatch(unquote(peer))) is not None:
        return passed_on[1]
    for family in _FAMILIES:
        if peer.startswith(family):
            return unquote(peer.removeprefix(family))
    return LOCAL
