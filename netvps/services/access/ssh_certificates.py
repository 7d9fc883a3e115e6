"""SSH user certificates for logins without a registered key: the API signs them, the gateway accepts them."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from netvps.errors import Exhausted, InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import CertificateAuthority, Clock

LIFE: Final = timedelta(minutes=5)
LONGEST: Final = timedelta(hours=8)
"""For machines without the CLI: a working day. Nothing but the removal of its user ends a certificate earlier."""
PER_MINUTE: Final = 60
"""Maximum number of certificates per user and minute."""
_MINUTE: Final = timedelta(minutes=1)
_USERS: Final = 10_000
"""Number of users whose recent certificates are counted; beyond it, the least recent users are evicted."""
_PRINCIPAL: Final = "users/"


class SshCertificates:
    """Issues user certificates.

    Nothing is stored: a certificate names the user, and each login is authorised separately.
    """

    def __init__(self, clock: Clock, ca: CertificateAuthority) -> None:
        self._clock = clock
        self._ca = ca
        self._issued: OrderedDict[str, deque[datetime]] = OrderedDict()

    def issue(self, caller: Caller, public_key: str, life: timedelta | None = None) -> tuple[str, datetime]:
        """Returns a certificate (OpenSSH form) for the caller, and its expiry. Raises InvalidInput, Exhausted."""
        life = life or LIFE
        if not _MINUTE <= life <= LONGEST:
            seconds = life.total_seconds()
            raise InvalidInput.of(
                "ttl", f"{seconds:g} s is not between one minute and eight hours: give for example 8h"
            )
        now = self._clock()
        recent = self._recent(caller.user, now)
        if len(recent) >= PER_MINUTE:
            raise Exhausted(
                f"user {caller.user} was issued {PER_MINUTE} SSH certificates within a minute, which is the limit: "
                "wait a minute, or log in with a registered key (netvps key add)"
            )
        certificate = self._ca.sign_ssh_user(public_key, (principal_of(caller.user),), caller.user, now, life)
        recent.append(now)
        return certificate, now + life

    def _recent(self, user: str, now: datetime) -> deque[datetime]:
        recent = self._issued.setdefault(user, deque())
        self._issued.move_to_end(user)
        if len(self._issued) > _USERS:
            self._issued.popitem(last=False)
        while recent and now - recent[0] >= _MINUTE:
            recent.popleft()
        return recent


def principal_of(user: str) -> str:
    """The principal of a user's certificates. Distinct from those that the gateway uses for agents ("UID/UNIXUSER")."""
    return f"{_PRINCIPAL}{user}"


def user_of(principals: tuple[str, ...]) -> str | None:
    """The user named by a certificate's principals; None unless there is exactly one, in the form of `principal_of`."""
    if len(principals) != 1 or not principals[0].startswith(_PRINCIPAL):
        return None
    return principals[0].removeprefix(_PRINCIPAL) or None
