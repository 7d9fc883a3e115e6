"""Allocates overlay addresses of sessions from the subnet of the session's runner; Docker never chooses them.

An address is a column of the session's row, with a unique index; it becomes free when the row is deleted or changed.
Allocation is round-robin: an address is not reused before all others of the subnet were used, because peers cache for a
while which session had it.

A session that moves keeps its address, so it may have one of another runner's subnet (ADR 0048). That stays in use: its
own subnet has no other session with it. On its new runner the session has a local address besides, which the container
engine needs; that is in use there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from netvps.domain.overlay.settings import session_addresses
from netvps.domain.runner.placement import joins_overlay
from netvps.domain.runner.runner import HOST_ROUTES, KEPT_ADDRESSES, Lease, Runner
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.session.session import Session
from netvps.domain.session.spec import Network
from netvps.services.runners.leases import lease_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netvps.domain.session.spec import SessionSpec
    from netvps.services.ports import Reader, Transaction


_AT_ONCE: Final = 64
"""Addresses that one query asks for."""
_MANY: Final = 1 << 16


class Given(NamedTuple):
    """The addresses of a session on the runner that it moves to."""

    overlay: str
    local: str = ""
    """As in Session."""
    why: str = ""
    """Why it is not the address that it had, for people; '' if it is, or had none."""


class Addresses:
    """Free addresses in one view of the store, in which none becomes free: a full subnet is checked once."""

    def __init__(self, reader: Reader, reserved: AddressReservation | None = None) -> None:
        """`reserved` is the one that the session has, which gets its address."""
        self._reader = reader
        self._for_session = reserved
        self._full: set[str] = set()

    async def pick(self, spec: SessionSpec, runner: Runner) -> str | None:
        """An address for a new session on that runner; '' if it gets none, None if all are in use."""
        if not joins_overlay(spec, runner):
            return ""
        if self._for_session is not None and self._for_session.runner == runner.uid:
            return self._for_session.address
        if runner.uid in self._full:
            return None
        found = await self._free(runner)
        if found is None:
            self._full.add(runner.uid)
        return found

    async def keep(self, session: Session, runner: Runner) -> Given | None:
        """The addresses of a session that moves to that runner; None if all there are in use.

        It keeps its address, unless a runner is too old for that.
        """
        address, lease = session.overlay_address, await lease_of(self._reader, runner.uid)
        if not (address and joins_overlay(session.spec, runner) and lease):
            picked = await self.pick(session.spec, runner)
            return None if picked is None else Given(picked)
        if _number(address) in session_addresses(lease.cidr):
            return Given(address)
        picked = await self.pick(session.spec, runner)
        if picked is None:
            return None
        why = await self._why_not_kept(runner)
        return Given(picked, why=f"its address {address} is {picked} now: {why}") if why else Given(address, picked)

    async def again(self, session: Session, runner: Runner) -> Session:
        """The session with its address for the next start on its runner.

        It keeps its address. If its runner joined or left the overlay in between, the session follows where possible:
        one that requires the overlay keeps its address, and one for which no address is free stays off the overlay.
        """
        if joins_overlay(session.spec, runner):
            address = session.overlay_address or await self.pick(session.spec, runner) or ""
        else:
            address = session.overlay_address if session.spec.network is Network.OVERLAY else ""
        if address == session.overlay_address:
            return session
        return replace(session, overlay_address=address, local_address="")

    async def _why_not_kept(self, runner: Runner) -> str:
        if KEPT_ADDRESSES not in runner.capabilities:
            return f"runner {runner.name} cannot give it that (an older version, or without CAP_SYS_ADMIN)"
        on_overlay = [one for one in await self._reader.find(Runner) if one.underlay]
        old = next((one for one in on_overlay if HOST_ROUTES not in one.capabilities), None)
        return f"runner {old.name} has an older version, from which sessions would not reach that" if old else ""

    async def _free(self, runner: Runner) -> str | None:
        """The next free address after the last allocated one, wrapping around at the end of the subnet."""
        lease = await lease_of(self._reader, runner.uid)
        if lease is None:
            return None
        subnet = session_addresses(lease.cidr)
        last = _number(lease.last_address) if lease.last_address else subnet.start - 1
        here = await self._reader.tally(Session, "overlay_address", runner=runner.uid)
        moved_here = [address for address in here if address and _number(address) not in subnet]
        taken = here.keys() | await self._local_addresses(moved_here) | await self._reserved(runner)
        candidates = chain(range(last + 1, subnet.stop), range(subnet.start, last + 1))
        free = (address for address in map(_text, candidates) if address not in taken)
        return await _first_unused(self._reader, free)

    async def _reserved(self, runner: Runner) -> set[str]:
        found = await self._reader.find(AddressReservation, runner=runner.uid)
        now = await self._reader.now() if found else None
        return {one.address for one in found if now and not one.has_ended(now)}

    async def _local_addresses(self, addresses: Iterable[str]) -> set[str]:
        """The local addresses of the sessions with these overlay addresses."""
        found = set()
        for some in _batches(addresses):
            found |= {one.local_address for one in await self._reader.find(Session, overlay_address=some)}
        return found


async def _first_unused(reader: Reader, addresses: Iterator[str]) -> str | None:
    """The first address that no session on any runner has. Few have moved, so the first batch nearly always has one."""
    for some in _batches(addresses):
        used = await reader.tally(Session, "overlay_address", overlay_address=some)
        if len(used) < len(some):
            return next(address for address in some if address not in used)
    return None


async def release_subnet(tx: Transaction, address: str) -> None:
    """Frees the subnet of a removed runner when no session has an address of it any more.

    `address` is one that a session of another runner had.
    """
    for lease in await tx.find(Lease):
        if _number(address) in session_addresses(lease.cidr):
            if await tx.get(Runner, lease.runner) is None and not await is_in_use(tx, lease):
                await tx.delete(lease)
            return


async def is_in_use(reader: Reader, lease: Lease) -> bool:
    """Whether a session, on any runner, has an address of this subnet."""
    for some in _batches(map(_text, session_addresses(lease.cidr))):
        if await reader.tally(Session, "overlay_address", overlay_address=some):
            return True
    return False


async def put_addressed(tx: Transaction, session: Session) -> Session:
    """Writes a session; if its address is new, records it in the lease as the last allocated one.

    Frees the subnet of a removed runner if the session had the last address of it.
    """
    before = await tx.get(Session, session.uid)
    allocated = _allocated(session)
    if allocated and (before is None or _allocated(before) != allocated):
        lease = await lease_of(tx, session.runner)
        if lease is not None and _number(allocated) in session_addresses(lease.cidr):
            await tx.put(replace(lease, last_address=allocated))
    written = await tx.put(session)
    if before and before.local_address and before.overlay_address != session.overlay_address:
        await release_subnet(tx, before.overlay_address)
    return written


def _allocated(session: Session) -> str:
    """Its address in the subnet of its runner."""
    return session.local_address or session.overlay_address


def _batches(addresses: Iterable[str]) -> Iterator[tuple[str, ...]]:
    left = iter(addresses)
    while some := tuple(islice(left, _AT_ONCE)):
        yield some


@lru_cache(_MANY)
def _number(address: str) -> int:
    return int(IPv4Address(address))


def _text(number: int) -> str:
    return str(IPv4Address(number))
