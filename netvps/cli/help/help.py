"""`netvps help`: the help of a command, or a topic that belongs to none."""

from __future__ import annotations

from typing import Final

import click

from netvps import exit_codes
from netvps.cli.ui.output import emit
from netvps.cli.ui.usage import did_you_mean

EXIT_CODES: Final = "exit-codes"


def _complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    root = ctx.find_root().command
    names = root.list_commands(ctx) if isinstance(root, click.Group) else []
    return [name for name in (*names, EXIT_CODES) if name.startswith(incomplete)]


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...", shell_complete=_complete)
@click.pass_context
def show_help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Print the help of a command, or of the topic exit-codes.

    \b
    Examples: netvps help create
              netvps help exit-codes
    """  # noqa: D301 — Click means the character
    if words == (EXIT_CODES,):
        for code, meaning in exit_codes.MEANINGS.items():
            emit(f"{code:>3}  {meaning.replace('`', '')}")
        return
    found = ctx.find_root()
    for word in words:
        group = found.command
        command = group.get_command(found, word) if isinstance(group, click.Group) else None
        if command is None:
            known = [*group.list_commands(found)] if isinstance(group, click.Group) else []
            where = " ".join(found.command_path.split()[1:])
            raise click.UsageError(
                f"there is no command {f'{where} {word}'.strip()!r}{did_you_mean(word, known)}", found
            )
        found = click.Context(command, info_name=command.name, parent=found)
    emit(found.get_help())
