"""What is said of a mistake on the command line."""

from __future__ import annotations

import click
import pytest

from netvps.cli.ui import usage


@click.command("cut")
@click.option("--much", type=int)
@click.argument("name", metavar="[NAME]...")
def _cut(name: str, much: int) -> None:
    """Takes both."""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "NAME is missing; see `cut --help`"),
        (["a", "b"], "more arguments than this command takes: b; see `cut --help`"),
        (["a", "--much", "x"], "--much: 'x' is not a whole number: give for example 100; see `cut --help`"),
        (["a", "--mucho"], "there is no option --mucho; did you mean --much?; see `cut --help`"),
        (["a", "-q"], "there is no option -q; see `cut --help`"),
        (["a", "--much"], "--much needs a value after it"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_word_and_the_help(words: list[str], shown: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        _cut.main(words, prog_name="cut", standalone_mode=False)
    assert usage.sentence(raised.value) == shown
