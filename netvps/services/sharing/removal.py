"""Ends all access that others have to a session, when it is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Share
from netvps.domain.http.stored import StoredUrl
from netvps.domain.scheduling.lease import SessionLease

if TYPE_CHECKING:
    from netvps.services.ports import Transaction


async def remove_access(tx: Transaction, session: str) -> None:
    """Deletes the shares, the stored URLs and the lease of a session (uid)."""
    for share in await tx.find(Share, session=session):
        await tx.delete(share)
    for url in await tx.find(StoredUrl, session=session):
        await tx.delete(url)
    if (lease := await tx.get(SessionLease, session)) is not None:
        await tx.delete(lease)
