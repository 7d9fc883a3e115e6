"""Why `netvps` starts fast: a command is known by a row of a table, and imported when it runs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from netvps.cli.ui.arguments import refuse_empty
from netvps.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping


class Entry(NamedTuple):
    """Where a command is ("module:attribute"), what it does in one line, and under which heading of the help."""

    target: str
    summary: str
    section: str


class LazyGroup(click.Group):
    """A group whose commands are known by a table, and imported only to run; help needs the table alone."""

    def __init__(
        self, *args: Any, table: Mapping[str, Entry], aliases: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        """`aliases` are further names of commands, here and in the groups of the table."""
        super().__init__(*args, **kwargs)
        self.table = table
        self.aliases = aliases or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        if (entry := self.table.get(cmd_name)) is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return refuse_empty(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, by an alias too; the words after it may begin with an alias in its group."""
        words = [self.aliases.get(args[0], args[0]), *args[1:]]
        group = self.get_command(ctx, words[0]) if len(words) > 1 and words[1] in self.aliases else None
        if isinstance(group, click.Group) and words[1] not in group.commands:
            meant = self.aliases[words[1]]
            words[1] = meant if meant in group.commands else words[1]
        return super().resolve_command(ctx, words)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; a name that the server does not know comes back with the nearest that it does."""
        try:
            return super().invoke(ctx)
        except NotFound as error:
            from netvps.cli.ui.nearest import with_nearest

            raise with_nearest(error, ctx.obj) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table by its headings."""
        for section in dict.fromkeys(entry.section for entry in self.table.values()):
            rows = [(name, entry.summary) for name, entry in self.table.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)
