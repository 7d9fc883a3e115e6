"""The overlay in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.fabric import Fabric


@dataclass(frozen=True, slots=True)
class Overview:
    """What the server knows of the overlay as a whole."""

    fabric: Fabric
    prefix: int
    """Length of the prefix of a runner's subnet."""
    generation: int
    """Of the netmap."""
    runners_on: int
    """On the overlay, online or not."""
    runners_off: int
    """Without the overlay."""
    subnets_used: int
    subnets_free: int
    sessions: int
    """With an address on the overlay."""
