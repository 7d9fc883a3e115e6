"""`netvps completion`, and the names that it completes: quick, and silent when the server does not answer."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netvps.client import Client

_LIMIT: Final = 200


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for your shell.

    Example: eval "$(netvps completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "netvps", "_NETVPS_COMPLETE").source())


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


def complete_snapshot(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the session's snapshots that begin like this."""
    session = str(ctx.params.get("name") or "").removeprefix("sessions/")
    return _of_server(ctx, incomplete, lambda client: (one.id for one in client.list_snapshots(session)))


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
