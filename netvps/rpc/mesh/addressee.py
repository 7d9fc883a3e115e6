"""For which server a call of the mesh is: an address may belong to another one by now, or be announced by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.checks import shown
from netvps.errors import WrongState

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context

OTHER_SERVER: Final = "OTHER_SERVER"
"""Reason of the error if it is for another server."""
_KEY: Final = "netvps-server"


def addressed_to(uid: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call for a server."""
    return ((_KEY, uid),)


def require_addressed_to(uid: str, context: Context) -> None:
    """Raises WrongState unless a call is for the server with this uid."""
    meant = [str(value) for key, value in context.invocation_metadata() or () if key == _KEY]
    if meant != [uid]:
        raise WrongState(
            f"this is server {uid}, not {shown(', '.join(meant))}: two servers announce one address, or one restarted",
            reason=OTHER_SERVER,
        )
