"""Issues invitations, and revokes them. services.access.registration redeems them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Role, User
from netvps.domain.access.invitations import (
    DEFAULT_TTL,
    Invitation,
    InvitationState,
    InvitationView,
    may_give,
)
from netvps.domain.checks import shown
from netvps.domain.server import Registration
from netvps.errors import Exhausted, NotFound, NotPermitted, WrongState
from netvps.services.access.tokens import INVITE, new_token
from netvps.services.auditing import add_details
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import CertificateAuthority, Clock, Store, Transaction

MAX_OPEN: Final = 100
"""Maximum open invitations of one user."""


class Invitations:
    """Use cases of those who may invite: of their own invitations, as an admin of all."""

    def __init__(self, store: Store, clock: Clock, ca: CertificateAuthority, mode: Registration) -> None:
        self._store = store
        self._clock = clock
        self._ca = ca
        self._mode = mode

    async def create(
        self,
        caller: Caller,
        *,
        role: Role = Role.USER,
        ttl: timedelta = DEFAULT_TTL,
        note: str = "",
        request_id: str = "",
    ) -> tuple[InvitationView, str]:
        """An invitation and its token "nvi_…", which is not stored.

        Raises NotPermitted for a role beyond the caller's, WrongState if the server is closed, Exhausted, and
        AlreadyExists if this request has made an invitation already.
        """
        if not may_give(caller.role, role):
            raise NotPermitted(
                f"user {caller.user} with role {caller.role.lower()} may not invite people with role {role.lower()}: "
                "choose a role up to your own"
            )
        if self._mode is Registration.CLOSED:
            raise WrongState(
                "this server is closed to registration, so an invitation would be of no use: add people with netvps "
                "user add NAME, or start the server with --registration invite_only",
                reason="REGISTRATION_CLOSED",
            )
        now = self._clock()
        token = new_token(INVITE, self._ca.fingerprint)
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateInvitation", role, str(ttl), note)
            await once.earlier_secret()
            await _make_room(tx, caller.user, now)
            made = Invitation(token.kid, caller.user, role, note, token.secret_sha256, now, now + ttl)
            made = await tx.put(made)
            await once.record(made, f"invitation {made.kid}")
            add_details(("invitation", made.kid), ("role", role))
        return _view(made, InvitationState.OPEN), str(token)

    async def list(self, caller: Caller, *, page_size: int = 0, page_token: str = "") -> Page[InvitationView]:
        """Invitations by kid. Raises InvalidInput."""
        now, where = self._clock(), {} if caller.role is Role.ADMIN else {"issuer": caller.user}
        async with self._store.read() as reader:
            page = await read_page(reader, Invitation, page_size, page_token, **where)
            issuers = {name: await reader.get(User, name) for name in {one.issuer for one in page.items}}
        views = [_view(one, one.state(now, issuers[one.issuer])) for one in page.items]
        return Page(views, page.next_page_token, page.revision)

    async def revoke(self, caller: Caller, kid: str, request_id: str = "") -> InvitationView:
        """Revokes an invitation, or does nothing if it has ended. Raises NotFound, WrongState if it was redeemed."""
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "DeleteInvitation", kid)
            request = await once.earlier()
            if request is None:
                found = await tx.get(Invitation, kid)
                if found is None or not caller.sees(found.issuer):
                    raise NotFound(f"no invitation {shown(kid)[1:-1]}: see netvps invite ls")
                if found.redeemed_by:
                    raise WrongState(
                        f"user {found.redeemed_by} registered with invitation {kid} already: remove that user instead, "
                        f"with netvps user rm {found.redeemed_by}"
                    )
                revoked = found if found.end_time else await tx.put(replace(found, end_time=now))
                await once.record(revoked, f"invitation {kid}")
                return _view(revoked, InvitationState.REVOKED)
        return _view((await recall(self._store, Invitation, request))[0], InvitationState.REVOKED)


async def _make_room(tx: Transaction, issuer: str, now: datetime) -> None:
    """Deletes invitations of a user that ended long ago. Raises Exhausted if too many are open."""
    found = await tx.find(Invitation, issuer=issuer)
    for one in found:
        if one.is_outdated(now):
            await tx.delete(one)
    if sum(one.end_time is None and now < one.expire_time for one in found) >= MAX_OPEN:
        raise Exhausted(
            f"user {issuer} has {MAX_OPEN} open invitations, which is the limit: revoke some, with netvps invite rm KID"
        )


def _view(found: Invitation, state: InvitationState) -> InvitationView:
    return InvitationView(
        found.kid,
        found.issuer,
        found.role,
        found.note,
        found.create_time,
        found.expire_time,
        state,
        found.redeemed_by,
    )
