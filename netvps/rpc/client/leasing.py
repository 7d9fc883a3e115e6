"""A client whose calls carry a lease."""

from __future__ import annotations

from copy import copy
from typing import Any, Final, Self

LEASE: Final = "netvps-lease"
"""The metadata of a call in which it carries the epoch of a lease."""


class Leasing:
    """What both clients can do with a lease."""

    transport: Any

    def with_lease(self, epoch: int) -> Self:
        """This client, on the same connection, with calls that carry the lease with that epoch."""
        other = copy(self)
        other.transport = self.transport.with_metadata((LEASE, str(epoch)))
        return other
