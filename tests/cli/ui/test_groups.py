"""A word that may be left out."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from netvps.cli.ui.groups import DefaultGroup


@pytest.mark.parametrize(
    ("bare", "words", "out"),
    [
        (True, [], "get -"),
        (True, ["x"], "get x"),
        (False, ["get", "x"], "get x"),
        (False, ["ls"], "ls"),
        (False, ["ls.bob"], "get ls.bob"),
        (False, [], "Usage:"),
        (True, ["--help"], "Usage:"),
    ],
)
def test_the_first_word(bare: bool, words: list[str], out: str) -> None:
    @click.group(cls=DefaultGroup, default="get", bare=bare)
    def things() -> None:
        """Things."""

    @things.command("get")
    @click.argument("name", default="-")
    def get(name: str) -> None:
        click.echo(f"get {name}")

    things.add_command(click.Command("ls", callback=lambda: click.echo("ls")))
    assert CliRunner().invoke(things, words).output.startswith(out)
