"""Sessions that are created together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.errors import InvalidInput, NetvpsError, Violation

if TYPE_CHECKING:
    from netvps.domain.session.spec import SessionSpec

MAX_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to create: '' as `session_id` lets the server choose a name, '' as owner is the caller."""

    session_id: str
    spec: SessionSpec
    owner: str = ""
    address_reservation: str = ""
    """Token of the reserved address that it gets; '' for any."""


@dataclass(frozen=True, slots=True)
class NotCreated:
    """Why one of them was not created: for programs (as `NetvpsError.reason`), and for people."""

    reason: str
    message: str


def at_index(error: NetvpsError, index: int) -> NetvpsError:
    """The error of one of the requests of a batch, which names it."""
    where = f"requests[{index}]"
    if isinstance(error, InvalidInput):
        violations = [Violation(f"{where}.{one.field}", one.description) for one in error.violations]
        return InvalidInput(*violations, reason=error.reason)
    return type(error)(f"{where}: {error.message}", reason=error.reason)
