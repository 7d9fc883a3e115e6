"""Whether a command line is one that the CLI takes."""

from __future__ import annotations

import click

from netvps.cli.app import root
from netvps.cli.ui.groups import DefaultGroup


def problem(words: list[str]) -> str:
    """What is wrong with a command line, by the parser of the CLI; '' if nothing is."""
    command: click.Command = root
    ctx = click.Context(root, info_name="netvps")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(ctx, words[0])
        if inner is None and isinstance(command, DefaultGroup):
            inner, words = command.commands[command.default], [command.default, *words]
        if inner is None:
            return f"there is no command {words[0]}"
        command, words = inner, words[1:]
        ctx = click.Context(command, info_name=command.name, parent=ctx)
    if words == ["--help"]:
        return ""
    if isinstance(command, click.Group):
        return f"what is {words}?" if words else ""
    command.get_params(ctx)  # a program's are made now
    try:
        given, rest, _ = command.make_parser(ctx).parse_args([*words])
    except click.UsageError as error:
        return error.format_message()
    missing = [
        param.human_readable_name
        for param in command.get_params(ctx)
        if isinstance(param, click.Argument) and param.required and not _is_given(given.get(str(param.name)))
    ]
    return f"what is {rest}?" if rest and not ctx.allow_extra_args else f"{missing} is missing" if missing else ""


def _is_given(value: object) -> bool:
    """Click has a value of its own for what is not."""
    return isinstance(value, str | tuple | list) and bool(value)
