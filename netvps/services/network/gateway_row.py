"""A server's own member of the overlay, as runners see it: a runner's row with a subnet, never used by the scheduler.

It has no certificate, so no program can connect as it. Its uid is stored on the server's machine, so that it keeps its
row and subnet across restarts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.runner import Runner, RunnerState, Welcome
from netvps.services.network.gateway_place import LIFE
from netvps.services.runners.joining import free_name
from netvps.services.runners.leases import is_within, lease, lease_of
from netvps.services.sessions.removal import remove_runner

if TYPE_CHECKING:
    from netvps.domain.overlay.fabric import Fabric
    from netvps.domain.overlay.peer_health import Problem
    from netvps.domain.runner.runner import Underlay
    from netvps.services.ports import Clock, Store


class GatewayRow:
    """The member of one server on one machine."""

    def __init__(
        self, store: Store, clock: Clock, fabric: Fabric, prefix: int, *, uid: str, name: str, version: str
    ) -> None:
        """`name` is its preferred name; its subnet has a prefix of length `prefix`."""
        self._store, self._clock, self._fabric, self._prefix = store, clock, fabric, prefix
        self.uid, self._name, self._version = uid, name, version

    async def join(self, underlay: Underlay) -> Welcome:
        """Creates or reactivates the member and marks it as a gateway. Raises Exhausted if no subnet is left."""
        now = self._clock()
        async with self._store.write("gateway") as tx:
            known = await tx.get(Runner, self.uid)
            if known is None:
                name = await free_name(tx, self._name)
                known = Runner(self.uid, name, create_time=now, last_seen=now, gateway_only=True)
            row = replace(known, version=self._version, underlay=underlay, problems=(), gateway_until=now + LIFE)
            await tx.put(replace(row, state=RunnerState.ONLINE, last_seen=now))
            held = await lease_of(tx, self.uid)
            if held and not is_within(held, self._fabric.pool):  # from the earlier pool
                await tx.delete(held)
                held = None
            held = held or await lease(tx, self.uid, self._fabric, self._prefix)
        return Welcome(known.name, 0.0, held, self._fabric)

    async def tell(self, underlay: Underlay | None, problems: tuple[Problem, ...]) -> None:
        """Writes the member's underlay and problems if they changed."""
        async with self._store.write("gateway") as tx:
            known = await tx.get(Runner, self.uid)
            if known and (known.underlay, known.problems) != (underlay, problems):
                await tx.put(replace(known, underlay=underlay, problems=problems))

    async def leave(self) -> None:
        """Removes the member and frees its subnet. Does nothing if it is gone."""
        async with self._store.write("gateway") as tx:
            if known := await tx.get(Runner, self.uid):
                await remove_runner(tx, known.name, force=False)
