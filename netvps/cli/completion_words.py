"""Names for the shell's completion: quick, and silent when there is nothing to say."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click

_LIMIT: Final = 200


def complete_session(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the caller's sessions that begin like this."""
    from netvps.cli.connect import dial
    from netvps.cli.contexts import resolve
    from netvps.errors import NetvpsError

    try:
        with dial(resolve(ctx.find_root().params.get("context_name"))) as client:
            return [session.name for session in itertools.islice(client.list_sessions(""), _LIMIT)
                    if session.name.startswith(incomplete)]  # fmt: skip
    except (NetvpsError, OSError):
        return []
