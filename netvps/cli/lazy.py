"""Why `netvps` starts fast: commands are imported when they run, and big libraries when they are first touched.

Measured on a machine where a bare Python starts in 12 ms: `import grpc` takes 99 ms, of which 60 are asyncio and
grpc.aio, which a synchronous client never touches; protobuf takes 55, of which 40 are its pure-Python
implementation, unused beside the compiled one. `importlib.util.LazyLoader` leaves those until somebody uses an
attribute of them; then they load as ever. Click takes 27 ms. Typer, which has Click inside, takes 85, and 200 more
for pydantic as soon as a command has a parameter (typer 0.29): alone twice what a command may take to start.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

_POSTPONED: Final = frozenset(
    {
        "asyncio",
        "grpc.aio",
        "google.protobuf.internal.python_message",
        "google.protobuf.text_format",
    }
)


class _Postpone:
    """A finder (PEP 451) of the modules above, which load at their first use."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _POSTPONED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def postpone_heavy_imports() -> None:
    """From now on the modules above load at their first use. Again changes nothing."""
    if not any(finder is _Postpone for finder in sys.meta_path):
        sys.meta_path.insert(0, _Postpone)


class Entry(NamedTuple):
    """Where a command is ("module:attribute"), what it does in one line, and under which heading of the help."""

    target: str
    summary: str
    section: str


class LazyGroup(click.Group):
    """A group whose commands are known by a table, and imported only to run; help needs the table alone."""

    def __init__(self, *args: Any, table: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

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
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As ever, with the nearest names for a mistyped one."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.table, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table by its headings."""
        for section in dict.fromkeys(entry.section for entry in self.table.values()):
            rows = [(name, entry.summary) for name, entry in self.table.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)
