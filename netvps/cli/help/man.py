"""Manual pages, written from the same texts as `--help`: `netvps man-pages FOLDER`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps import __version__, exit_codes
from netvps.cli.help.reference import tree
from netvps.cli.ui.output import emit
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT: Final = "\b"
"""Click's mark of a paragraph whose lines stay as they are."""
_STARTS_REQUEST: Final = re.compile(r"^([.'])", re.MULTILINE)


@click.command("man-pages")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def man_pages(ctx: click.Context, folder: Path) -> None:
    """Write a manual page for each command into FOLDER.

    Example: netvps man-pages ~/.local/share/man/man1
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(ctx.find_root().command):
            (folder / f"{name}.1").write_text(text, encoding="utf-8")
            emit(str(folder / f"{name}.1"))
    except OSError as error:
        raise ConfigError(f"cannot write manual pages to {folder}: {error.strerror}; name another folder") from None


def pages(root: click.Command) -> Iterator[tuple[str, str]]:
    """Name and text of each page, in the order of the help."""
    context = click.Context(root, info_name="netvps")
    yield "netvps", page(root, context)
    if isinstance(root, click.Group):
        for path, command, inner in tree(root, context):
            yield "-".join(("netvps", *path)), page(command, inner)


def page(command: click.Command, ctx: click.Context) -> str:
    """The manual page of one command, in the man macros of groff_man(7)."""
    name = ctx.command_path.replace(" ", "-")
    summary = command.get_short_help_str(limit=200).rstrip(".")
    lines = [f'.TH "{name.upper()}" "1" "" "netvps {__version__}" "netvps manual"']
    lines += [".SH NAME", f"{_text(name)} \\- {_text(summary)}"]
    lines += [".SH SYNOPSIS", f".B {_text(ctx.command_path)}", _text(" ".join(command.collect_usage_pieces(ctx)))]
    lines += [".SH DESCRIPTION", *_paragraphs(f"{command.help or ''}\n\n{command.epilog or ''}".rstrip())]
    records = [record for param in command.get_params(ctx) if (record := param.get_help_record(ctx))]
    if records:
        lines.append(".SH OPTIONS")
        for flags, text in records:
            lines += [".TP", f".B {_text(flags)}", _text(text)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            if found is not None and not found.hidden:
                lines += [".TP", f".B {_text(inner)}", _text(found.get_short_help_str(limit=200))]
    lines.append(".SH EXIT STATUS")
    for code, meaning in exit_codes.MEANINGS.items():
        lines += [".TP", f".B {code}", _text(meaning.replace("`", ""))]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).replace(f"{_KEPT}\n", _KEPT).split("\n\n"):
        yield ".PP"
        if paragraph.startswith(_KEPT):
            yield from (".nf", _text(paragraph.removeprefix(_KEPT)), ".fi")
        else:
            yield _text(paragraph)


def _text(text: str) -> str:
    """Text that no macro processor takes for a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return _STARTS_REQUEST.sub(r"\\&\1", escaped)
