"""The call that is being served, for the audit log: what a transaction changes is recorded with who asked for it.

The record is part of the first transaction of a call that changes anything, so that neither exists without the other.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.domain.access.audit import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class AuditedCall:
    """A call of a person; `action`, `target` and `details` are as in AuditEvent."""

    actor: str
    origin: str
    action: str
    target: str = ""
    details: tuple[tuple[str, str], ...] = ()
    recorded: bool = False
    """Whether a record of it was committed."""
    ended: bool = False
    """A task that the call started may outlive it, and acts for itself then."""

    def event(self) -> AuditEvent:
        """As an event that was allowed."""
        return AuditEvent(self.actor, self.origin, self.action, self.target, details=self.details)


_current: ContextVar[AuditedCall | None] = ContextVar("audited_call", default=None)


@contextmanager
def audited(call: AuditedCall) -> Iterator[AuditedCall]:
    """Makes it the call that transactions in the block are recorded for."""
    token = _current.set(call)
    try:
        yield call
    finally:
        call.ended = True
        _current.reset(token)


def unrecorded_call() -> AuditedCall | None:
    """The call that a transaction has to record; None if there is none, or it is recorded already."""
    call = _current.get()
    return None if call is None or call.recorded or call.ended else call


def add_details(*details: tuple[str, str]) -> None:
    """Adds pairs of name and value to the record of the call that is being served."""
    call = _current.get()
    if call is not None:
        call.details += details
