"""Addresses of sessions on the overlay: ours to give, out of the subnet of the session's runner; never Docker's.

An address is part of its session's row: what keeps it unique is the index of that column, and it is free once the row
is gone or says another. It is not given again before all others of the subnet were: for a while, others remember whose
it was.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from netvps.domain.overlay.fabric import session_addresses
from netvps.domain.placement import joins_overlay
from netvps.domain.session import Network, Session
from netvps.services.leases import lease_of

if TYPE_CHECKING:
    from netvps.domain.runner import Runner
    from netvps.domain.session import SessionSpec
    from netvps.services.ports import Reader, Transaction


class Addresses:
    """What is free, in one view of the store; in that nothing becomes free, so who is asked in vain is not again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._full: set[str] = set()

    async def pick(self, spec: SessionSpec, runner: Runner) -> str | None:
        """An address for a new session on that runner; '' if it is to have none, None if all are taken."""
        if not joins_overlay(spec, runner):
            return ""
        if runner.uid in self._full:
            return None
        found = await self._free(runner)
        if found is None:
            self._full.add(runner.uid)
        return found

    async def again(self, session: Session, runner: Runner) -> Session:
        """The session, as it starts again on the runner that has it.

        It keeps its address. If its runner came to the overlay or left it in between, it does so too, where it may:
        one that has to be on the overlay stays there, and one that finds no free address stays off it.
        """
        if joins_overlay(session.spec, runner):
            address = session.overlay_address or await self.pick(session.spec, runner) or ""
        else:
            address = session.overlay_address if session.spec.network is Network.OVERLAY else ""
        return session if address == session.overlay_address else replace(session, overlay_address=address)

    async def _free(self, runner: Runner) -> str | None:
        """The next after the one given last that no session has; round and round."""
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
    """Writes a session that may have a new address, after the note that this one was given."""
    before = await tx.get(Session, session.uid)
    if session.overlay_address and (before is None or before.overlay_address != session.overlay_address):
        lease = await lease_of(tx, session.runner)
        if lease is not None:
            await tx.put(replace(lease, last_address=session.overlay_address))
    return await tx.put(session)
