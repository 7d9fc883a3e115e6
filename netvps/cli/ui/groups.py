"""Groups of commands whose first word may be left out."""

from __future__ import annotations

from typing import Any

import click


class DefaultGroup(click.Group):
    """Words that begin with no command of the group are for one of them."""

    def __init__(self, *args: Any, default: str, bare: bool = False, **settings: Any) -> None:
        """`default` is that command; `bare`: also without any word, which shows the help otherwise."""
        super().__init__(*args, **settings)
        self.default = default
        self._bare = bare

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Click's own, with the word put in."""
        named = args[0] in self.commands or args[0] in {"-h", "--help"} if args else not self._bare
        return super().parse_args(ctx, args if named else [self.default, *args])
