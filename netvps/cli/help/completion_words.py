"""Names for the shell's completion: quick, and silent when the server does not answer."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    from netvps.client import Client

_LIMIT: Final = 200


def complete_session(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the caller's sessions that begin like this."""
    return _of_server(ctx, incomplete, lambda client: (session.name for session in client.list_sessions("")))


def complete_user(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of users that begin like this."""
    return _of_server(ctx, incomplete, lambda client: (user.name for user in client.list_users()))


def complete_runner(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of runners that begin like this."""
    return _of_server(ctx, incomplete, lambda client: (view.runner.name for view in client.list_runners()))


def complete_key(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Fingerprints of the caller's SSH keys that begin like this."""
    return _of_server(ctx, incomplete, lambda client: (key.fingerprint for key in client.list_ssh_keys()))


def complete_context(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of contexts that begin like this."""
    from netvps.cli.server import contexts

    return [name for name in contexts.names() if name.startswith(incomplete)]


def _of_server(ctx: click.Context, incomplete: str, names: Callable[[Client], Iterable[str]]) -> list[str]:
    from netvps.cli.server.connect import dial
    from netvps.cli.server.contexts import resolve
    from netvps.errors import NetvpsError

    try:
        with dial(resolve(ctx.find_root().params.get("context_name"))) as client:
            return [name for name in itertools.islice(names(client), _LIMIT) if name.startswith(incomplete)]
    except (NetvpsError, OSError):
        return []
