"""Deletes sessions' rows, and runners with their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Credential
from netvps.domain.checks import shown
from netvps.domain.moves.eviction import Eviction
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.session.session import Session
from netvps.errors import NotFound, WrongState
from netvps.services.copies.orders import forget_runner
from netvps.services.moves.evictions import release_all
from netvps.services.network.addresses import is_in_use, release_subnet
from netvps.services.sharing.removal import remove_access
from netvps.services.snapshots.use import remove_snapshots
from netvps.services.tasks.removal import lose_tasks

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import Reader, Transaction


async def remove_session(tx: Transaction, session: Session) -> None:
    """Deletes the rows of a session, its snapshots, shares and URLs, and the boot tokens of all its placements.

    Its name and address become free.
    """
    await remove_snapshots(tx, session)
    await release_all(tx, session.uid)
    await remove_access(tx, session.uid)
    for epoch in range(1, session.epoch + 1):
        for credential in await tx.find(Credential, subject=f"{session.uid}/{epoch}"):
            await tx.delete(credential)
    await tx.delete(session)
    if session.local_address:
        await release_subnet(tx, session.overlay_address)


async def remove_runner(tx: Transaction, name: str, now: datetime, *, force: bool) -> Runner:
    """Deletes a runner and frees its subnet; with `force` also the sessions placed on it, and its tasks are lost.

    The subnet stays leased while sessions that moved away have addresses of it.
    What the machine itself holds of them stays there. Raises NotFound, and WrongState while it has sessions, unless
    forced, or if one of them is protected.
    """
    runner = await runner_named(tx, name)
    for reservation in await tx.find(AddressReservation, runner=runner.uid):
        await tx.delete(reservation)
    await lose_tasks(tx, runner, now, force=force)
    sessions = await tx.find(Session, runner=runner.uid)
    if sessions and not force:
        count = f"{len(sessions)} session{'s' if len(sessions) > 1 else ''}"
        raise WrongState(
            f"runner {name} has {count}: move them first, with netvps runner drain {name}; if the machine is lost, and"
            f" their files with it: netvps runner rm --force {name}",
            reason="RUNNER_HAS_SESSIONS",
        )
    for session in sessions:
        if session.spec.delete_protection:
            raise WrongState(
                f"session {session.full_name} on runner {name} is protected from deletion: lift that with: "
                f"netvps set {session.full_name} --no-protect",
                reason="DELETE_PROTECTED",
            )
    for session in sessions:
        await remove_session(tx, session)
    for lease in await tx.find(Lease, runner=runner.uid):
        if not await is_in_use(tx, lease):
            await tx.delete(lease)
    await forget_runner(tx, runner, now)
    for eviction in await tx.find(Eviction, runner=runner.uid):
        await tx.delete(eviction)
    for credential in await tx.find(Credential, used_for=runner.uid):  # its join tokens
        await tx.delete(credential)
    await tx.delete(runner)
    return runner


def was_removed() -> NotFound:
    """The error for a runner that was removed."""
    return NotFound("this runner was removed: join again, with a token from netvps runner join-token")


async def runner_named(reader: Reader, name: str) -> Runner:
    """The runner with that name. Raises NotFound."""
    found = await reader.find(Runner, name=name)
    if not found:
        raise NotFound(f"no runner {shown(name)[1:-1]}: see netvps runner ls")
    return found[0]
