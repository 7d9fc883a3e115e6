"""The names that a mistyped one may have been meant to be, looked up when the server does not know it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from netvps.errors import NetvpsError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netvps.client import Client

_MOST: Final = 1000
_NAMED: Final = re.compile(r"(?:no|there is no) (session|user|runner) '?([a-z0-9.-]+)")
_SNAPSHOT: Final = re.compile(r"session ([a-z0-9.-]+) has no snapshot '?([a-z0-9.-]+)'?:")
_NAMES: Final[dict[str, Callable[[Client], Iterable[str]]]] = {
    "session": lambda client: (session.name for session in client.list_sessions("")),
    "user": lambda client: (user.name for user in client.list_users()),
    "runner": lambda client: (view.runner.name for view in client.list_runners()),
}


def with_nearest(error: NotFound, context_name: str | None) -> NotFound:
    """The error, with the nearest names that exist, where it is about a name and the server can be asked."""
    from netvps.cli.server.connect import dial
    from netvps.cli.server.contexts import resolve
    from netvps.cli.ui.usage import did_you_mean

    lookup, name = _lookup(error.message)
    if lookup is None:
        return error
    try:
        with dial(resolve(context_name)) as client:
            known = [*itertools.islice(lookup(client), _MOST)]
    except (NetvpsError, OSError):
        return error
    hint = did_you_mean(name.partition(".")[0], known)
    return NotFound(f"{error.message}{hint}", reason=error.reason) if hint else error


def _lookup(message: str) -> tuple[Callable[[Client], Iterable[str]] | None, str]:
    """What lists the names of the kind that a message says does not exist, and the name in it."""
    if named := _SNAPSHOT.match(message):
        session = named[1]
        return lambda client: (snapshot.id for snapshot in client.list_snapshots(session)), named[2]
    if named := _NAMED.match(message):
        return _NAMES[named[1]], named[2]
    return None, ""
