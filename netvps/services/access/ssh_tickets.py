"""Tickets for connections of `netvps ssh-proxy`: the API issues them, the gateway redeems each once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from netvps.domain.checks import shown
from netvps.domain.names import SshLogin
from netvps.domain.resumable import OPEN_SIZE, RESUME_SIZE
from netvps.errors import Exhausted, InvalidInput, NotFound, NotPermitted
from netvps.services.access.terminal_ui import TERMINAL_UI

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.access.logins import Grant
    from netvps.services.ports import Clock

LIFE: Final = timedelta(seconds=30)
OPEN_AT_ONCE: Final = 60
"""Maximum number of tickets of a user that are neither used nor expired."""
TICKET_UNKNOWN: Final = "TICKET_UNKNOWN"
"""The reason of the error for a ticket that is not, or no longer, known."""
_ALL: Final = 20_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a ticket is for: a user's connection to a session, and what the session's agent gets."""

    user: str
    login: SshLogin
    attachment: bytes


class UserLogins(Protocol):
    """Decides about logins (Logins)."""

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        """The login that a user gets. Raises NotFound, NotPermitted."""


class SshTickets:
    """Issues and redeems tickets, in memory: a client gets another one after a restart."""

    def __init__(self, logins: UserLogins, clock: Clock) -> None:
        self._logins = logins
        self._clock = clock
        self._open: dict[str, tuple[datetime, Admitted]] = {}
        """With their ends, the earliest first."""

    async def issue(self, caller: Caller, host: str, attachment: bytes) -> str:
        """Returns a ticket for a session that the caller may log in to. Raises InvalidInput, NotFound, Exhausted."""
        login = SshLogin.of_host(host)
        if len(attachment) not in {OPEN_SIZE, RESUME_SIZE}:
            sizes = f"{OPEN_SIZE} or {RESUME_SIZE}"
            raise InvalidInput.of("attachment", f"{len(attachment)} bytes are not {sizes}: update netvps")
        try:
            grant = await self._logins.authorize_user(login, caller.user)
        except NotFound:
            raise _unknown(host) from None
        if grant.session.uid == TERMINAL_UI:
            raise _unknown(host)
        self._forget_expired()
        of_user = sum(admitted.user == caller.user for _, admitted in self._open.values())
        if of_user >= OPEN_AT_ONCE or len(self._open) >= _ALL:
            raise Exhausted(f"{of_user} connections of {caller.user} are being opened: wait half a minute")
        ticket = secrets.token_urlsafe(32)
        self._open[ticket] = (self._clock() + LIFE, Admitted(caller.user, login, attachment))
        return ticket

    def redeem(self, ticket: str) -> Admitted:
        """What a ticket is for; it is used up. Raises NotPermitted."""
        self._forget_expired()
        found = self._open.pop(ticket, None)
        if found is None:
            raise NotPermitted("the ticket was used, or has expired: connect again", reason=TICKET_UNKNOWN)
        return found[1]

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._open and (first := next(iter(self._open.items())))[1][0] <= now:
            del self._open[first[0]]


def _unknown(host: str) -> NotFound:
    return NotFound(f"session {shown(host)} is not open to you: `netvps ls` lists yours")
