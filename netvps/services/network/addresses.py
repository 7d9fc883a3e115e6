"""Allocates overlay addresses of sessions from the subnet of the session's runner; Docker never chooses them.

An address is a column of the session's row, with a unique index; it becomes free when the row is deleted or changed.
Allocation is round-robin: an address is not reused before all others of the subnet were used, because peers cache for a
while which session had it.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from netvps.domain.overlay.settings import session_addresses
from netvps.domain.runner.placement import joins_overlay
from netvps.domain.session.session import Session
from netvps.domain.session.spec import Network
from netvps.services.runners.leases import lease_of

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner
    from netvps.domain.session.spec import SessionSpec
    from netvps.services.ports import Reader, Transaction


class Addresses:
    """Free addresses in one view of the store, in which none becomes free: a full subnet is checked once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._full: set[str] = set()

    async def pick(self, spec: SessionSpec, runner: Runner) -> str | None:
        """An address for a new session on that runner; '' if it gets none, None if all are in use."""
        if not joins_overlay(spec, runner):
            return ""
        if runner.uid in self._full:
            return None
        found = await self._free(runner)
        if found is None:
            self._full.add(runner.uid)
        return found

    async def again(self, session: Session, runner: Runner) -> Session:
        """The session with its address for the next start on its runner.

        It keeps its address. If its runner joined or left the overlay in between, the session follows where possible:
        one that requires the overlay keeps its address, and one for which no address is free stays off the overlay.
        """
        if joins_overlay(session.spec, runner):
            address = session.overlay_address or await self.pick(session.spec, runner) or ""
        else:
            address = session.overlay_address if session.spec.network is Network.OVERLAY else ""
        return session if address == session.overlay_address else replace(session, overlay_address=address)

    async def _free(self, runner: Runner) -> str | None:
        """The next free address after the last allocated one, wrapping around at the end of the subnet."""
        lease = await lease_of(self._reader, runner.uid)
        if lease is None:
            return None
        subnet = session_addresses(lease.cidr)
        last = int(IPv4Address(lease.last_address)) if lease.last_address else subnet.start - 1
        taken = await self._reader.tally(Session, "overlay_address", runner=runner.uid)
        behind, before = range(last + 1, subnet.stop), range(subnet.start, last + 1)
        candidates = (str(IPv4Address(number)) for numbers in (behind, before) for number in numbers)
        return next((address for address in candidates if address not in taken), None)


async def put_addressed(tx: Transaction, session: Session) -> Session:
    """Writes a session; if its address is new, records it in the lease as the last allocated one."""
    before = await tx.get(Session, session.uid)
    if session.overlay_address and (before is None or before.overlay_address != session.overlay_address):
        lease = await lease_of(tx, session.runner)
        if lease is not None:
            await tx.put(replace(lease, last_address=session.overlay_address))
    return await tx.put(session)
