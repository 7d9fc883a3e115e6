"""A summary of the overlay."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.fabric import Fabric


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole overlay as the server knows it."""

    fabric: Fabric
    prefix: int
    """Prefix length of a runner's subnet."""
    generation: int
    """Generation of the netmap."""
    runners_on: int
    """Runners on the overlay, online or not."""
    runners_off: int
    """Runners without the overlay."""
    subnets_used: int
    subnets_free: int
    sessions: int
    """Sessions with an overlay address."""
