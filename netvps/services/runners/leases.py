"""Subnet leases of runners: each gets a subnet of the overlay's pool when it joins, and keeps it until it is removed.

The lease of a removed runner stays until the last session that moved away with an address of its subnet has no such
address any more.

An offline runner keeps its subnet, because its sessions still run there. A subnet that is leased again after a removal
gets a higher epoch: the revision of the log, which is higher than that of every earlier lease.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from netvps.domain.runner.ipam import allocate
from netvps.domain.runner.runner import Lease
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from netvps.domain.overlay.settings import OverlaySettings
    from netvps.services.ports import Reader, Transaction


async def lease(tx: Transaction, runner_uid: str, overlay_settings: OverlaySettings, prefix: int) -> Lease:
    """Leases a subnet with a prefix of length `prefix` to a runner. Raises Exhausted."""
    taken = [other.cidr for other in await tx.find(Lease)]
    return await tx.put(Lease(allocate(overlay_settings.pool, prefix, taken), runner_uid, epoch=tx.revision + 1))


async def lease_of(reader: Reader, runner_uid: str) -> Lease | None:
    """The subnet of a runner."""
    found = await reader.find(Lease, runner=runner_uid)
    return found[0] if found else None


async def require_in_pool(reader: Reader, pool: str) -> None:
    """Raises ConfigError if a runner's subnet is outside the pool (CIDR): other runners would have no route to it."""
    outside = [held.cidr for held in await reader.find(Lease) if not _is_within(held, pool)]
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise ConfigError(
            f"overlay_pool {pool} leaves out subnets that runners have ({outside[0]}{more}): set a pool that holds"
            " them, or remove those runners first (`netvps runner rm NAME`) with the previous pool",
            reason="LEASE_OUTSIDE_POOL",
        )


def _is_within(held: Lease, pool: str) -> bool:
    return IPv4Network(held.cidr).subnet_of(IPv4Network(pool))
