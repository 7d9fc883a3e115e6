"""Reservations of addresses: which address a session will have, before it exists. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

MIN_TTL: Final = 60.0
MAX_TTL: Final = 1_800.0
MAX_RESERVED: Final = 32
"""Of a user at once."""
EXPIRED: Final = "RESERVATION_EXPIRED"


@dataclass(frozen=True, slots=True)
class AddressReservation:
    """An address that no session gets but the one that is created with the token."""

    kind: ClassVar[str] = "address_reservation"

    token: str
    address: str
    user: str
    """Who reserved it; only they can use it."""
    runner: str
    """Uid of the runner whose subnet has the address."""
    runner_name: str
    expire_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.token

    def has_ended(self, now: datetime) -> bool:
        """Whether its end has come."""
        return now >= self.expire_time
