"""Writes the reference pages of docs/ from the code: `python -m netvps.cli.help.reference FOLDER` (scripts/docs)."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.app import COMMANDS, root
from netvps.cli.help import reference_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GENERATED: Final = "<!-- Generated from the code by scripts/docs: change the code, then run it. -->"
_BLOCK: Final = "\b"
"""Click's mark of a paragraph whose lines stay as they are."""
_DEFAULT_IN_WORDS: Final = re.compile(r"\[default: \((.*?)\)\]")
"""How Click shows a default that is given in words: show_default="10m"."""


def commands_page() -> str:
    """The page of all commands: a list by heading, then each command with its usage, text and options."""
    lines = [
        "# Commands",
        "",
        GENERATED,
        "",
        "`netvps COMMAND --help` prints the same. Data goes to stdout and progress to stderr; the exit codes are in",
        "[Settings](settings.md#exit-codes).",
        "",
    ]
    for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
        lines += [f"**{section}**", "", "| command | |", "|---|---|"]
        rows = [(name, entry.summary) for name, entry in COMMANDS.items() if entry.section == section]
        lines += [f"| [`{name}`](#{name}) | {cell(summary)} |" for name, summary in rows]
        lines.append("")
    lines += ["## netvps", "", *_body(root, click.Context(root, info_name="netvps"))]
    for path, command, ctx in tree(root, click.Context(root, info_name="netvps")):
        lines += ["", f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}", "", *_body(command, ctx)]
    return "\n".join(lines) + "\n"


def tree(group: click.Group, ctx: click.Context) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Each command below a group with the words that name it, in the order of the help; hidden ones are left out."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=ctx)
        path = (*inner.command_path.split()[1:],)
        yield path, command, inner
        if isinstance(command, click.Group):
            yield from tree(command, inner)


def _body(command: click.Command, ctx: click.Context) -> list[str]:
    """Usage, text and options of one command."""
    usage = " ".join((ctx.command_path, *command.collect_usage_pieces(ctx)))
    lines = ["```", usage, "```", *_paragraphs(command.help or "")]
    options = [param for param in command.get_params(ctx) if isinstance(param, click.Option)]
    records = [record for option in options if (record := option.get_help_record(ctx))]
    if records := [(flags, text) for flags, text in records if "--help" not in flags.split(", ")]:
        lines += ["", "| option | |", "|---|---|"]
        lines += [f"| `{cell(flags)}` | {cell(text)} |" for flags, text in records]
    return lines


def _paragraphs(text: str) -> Iterator[str]:
    """A help text as Markdown: kept paragraphs and examples become blocks."""
    for paragraph in inspect.cleandoc(text).replace(f"{_BLOCK}\n", _BLOCK).split("\n\n"):
        kept, example = paragraph.startswith(_BLOCK), paragraph.startswith("Example")
        content = paragraph.removeprefix(_BLOCK).strip("\n")
        if content:
            yield from ("", "```", content, "```") if kept or example else ("", content)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return _DEFAULT_IN_WORDS.sub(r"[default: \1]", " ".join(text.split())).replace("|", "\\|")


PAGES: Final[dict[str, Callable[[], str]]] = {"cli.md": commands_page, "settings.md": reference_settings.page}


def write(folder: Path) -> list[Path]:
    """Writes every page that differs from what the code says; returns those."""
    written = []
    for name, page in PAGES.items():
        file, text = folder / name, page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            written.append(file)
    return written


if __name__ == "__main__":
    for changed in write(Path(sys.argv[1])):
        print(changed)
