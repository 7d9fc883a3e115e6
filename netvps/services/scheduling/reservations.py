"""Reserves addresses for sessions that do not exist yet. Times are those of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.checks import shown
from netvps.domain.runner.runner import Runner
from netvps.domain.scheduling.address import EXPIRED, MAX_RESERVED, AddressReservation
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Exhausted, NotFound, WrongState
from netvps.services.idempotency import Idempotency, recall
from netvps.services.network.addresses import Addresses
from netvps.services.runners.leases import lease_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Clock, Reader, Store


class Reservations:
    """Manages reservations of addresses. Ended ones are removed when their user or runner gets another one."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str]) -> None:
        """`clock` is for idempotency records only."""
        self._store = store
        self._clock = clock
        self._new_uid = new_uid

    async def reserve(self, caller: Caller, runner_name: str, ttl: float, request_id: str = "") -> AddressReservation:
        """Reserves the next free address of a runner's subnet for `ttl` seconds.

        Raises NotFound, WrongState if the runner is not on the overlay, Exhausted.
        """
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "ReserveAddress", runner_name, ttl)
            request = await once.earlier()
            if request is None:
                found, now = await tx.find(Runner, name=runner_name), await tx.now()
                if not found:
                    raise NotFound(f"no runner {shown(runner_name)[1:-1]}: see netvps runner ls")
                runner = found[0]
                theirs = await tx.find(AddressReservation, user=caller.user)
                for one in {*theirs, *await tx.find(AddressReservation, runner=runner.uid)}:
                    if one.has_ended(now):
                        await tx.delete(one)
                if sum(not one.has_ended(now) for one in theirs) >= MAX_RESERVED:
                    raise Exhausted(
                        f"user {caller.user} has {MAX_RESERVED} reserved addresses, which is the limit: use one, "
                        "or wait until one ends"
                    )
                if runner.underlay is None or await lease_of(tx, runner.uid) is None:
                    raise WrongState(f"runner {runner_name} is not on the overlay: choose another (netvps runner ls)")
                address = await Addresses(tx).pick(SessionSpec(), runner)
                if not address:
                    raise Exhausted(f"runner {runner_name} has no free address: choose another (netvps runner ls)")
                end = now + timedelta(seconds=ttl)
                made = await tx.put(
                    AddressReservation(self._new_uid(), address, caller.user, runner.uid, runner.name, end)
                )
                await once.record(made, address)
                return made
        return (await recall(self._store, AddressReservation, request))[0]


async def reservation_of(reader: Reader, caller: Caller, token: str) -> AddressReservation:
    """The reservation that a new session uses. Raises NotFound, and WrongState if it has ended."""
    found = await reader.get(AddressReservation, token)
    if found is None or found.user != caller.user:
        raise NotFound(
            f"no reservation {shown(token)[1:-1]}: it was used, or has ended; reserve an address again with "
            "netvps network reserve RUNNER"
        )
    if found.has_ended(await reader.now()):
        raise WrongState(
            f"the reservation of {found.address} ended at {found.expire_time:%H:%M:%S} UTC: reserve an address again "
            f"with netvps network reserve {found.runner_name}",
            reason=EXPIRED,
        )
    return found
