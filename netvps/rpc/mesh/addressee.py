"""For which server a call of the mesh is: an address may belong to another one by now, or be announced by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.access.identity import RunnerIdentity, parse_identity
from netvps.domain.checks import shown
from netvps.errors import InvalidInput, Unauthenticated, WrongState

if TYPE_CHECKING:
    from netvps.rpc.server.context import Context

OTHER_SERVER: Final = "OTHER_SERVER"
"""Reason of the error if it is for another server."""
_KEY: Final = "netvps-server"
_RUNNER: Final = "netvps-runner"


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


def of_runner(uid: str) -> tuple[str, str]:
    """The metadata of a call of a runner that a server passes on."""
    return _RUNNER, uid


def runner_of(context: Context) -> RunnerIdentity:
    """The runner whose call a server passes on. Raises Unauthenticated."""
    meant = [str(value) for key, value in context.invocation_metadata() or () if key == _RUNNER]
    try:
        (uid,) = meant
        who = parse_identity(RunnerIdentity(uid).uri)
    except (ValueError, InvalidInput):
        who = None
    if not isinstance(who, RunnerIdentity):
        raise Unauthenticated("a call that is passed on has to name its runner")
    return who
