"""Data on stdout in the form that was asked for: aligned columns for people, the proto's JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import click

from netvps.cli.ui.terminal import paint, state_colour
from netvps.display.text import clean
from netvps.errors import ConfigError

T = TypeVar("T")
FORMATS: Final = ("table", "wide", "json", "jsonl", "yaml", "name")
_UNPRINTABLE = re.compile(r"[^ -~\n]")
_NO_WRAP: Final = 1 << 20

format_option = click.option(
    "-o", "--output", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)


class Column(NamedTuple, Generic[T]):
    """A column of a table: its heading, and the text of its cell for a thing."""

    title: str
    cell: Callable[[T], str]
    wide: bool = False
    """Shown with -o wide only."""


class View(Generic[T]):
    """How one kind of thing is printed: by its name, in columns, or as JSON."""

    def __init__(self, *, name: Callable[[T], str], columns: Sequence[Column[T]], json: Callable[[T], Any]) -> None:
        self.name = name
        self.columns = columns
        self.json = json

    def print_all(self, things: Iterable[T], form: str) -> None:
        """Prints a list; jsonl and name while it still arrives."""
        if form == "name":
            for thing in things:
                emit(clean(self.name(thing)))
        elif form == "jsonl":
            for thing in things:
                emit(json_text(self.json(thing)))
        elif form in {"json", "yaml"}:
            _print_value([self.json(thing) for thing in things], form)
        else:
            _print_table(self.columns, list(things), wide=form == "wide")

    def print_one(self, thing: T, form: str) -> None:
        """Prints one thing: as a document, or its columns one below the other."""
        if form in {"json", "yaml"}:
            _print_value(self.json(thing), form)
        elif form in {"name", "jsonl"}:
            self.print_all([thing], form)
        else:
            print_fields([(column.title.lower(), column.cell(thing)) for column in self.columns])


def emit(line: str) -> None:
    """One line on stdout."""
    print(line)


def note(line: str) -> None:
    """Prints one line on stderr, which no pipe of the data reads."""
    print(clean(line), file=sys.stderr)


def write_secret(file: Path, secret: str) -> None:
    """Writes a secret into a file that only its owner can read. Raises ConfigError."""
    from netvps.files import write_file

    try:
        write_file(file, f"{secret}\n".encode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; name a file in a folder of yours") from None


def print_fields(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values one below the other; empty values are left out."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        if value:
            emit(f"{paint(name.ljust(width), 'dim', sys.stdout)}  {_coloured(name.upper(), clean(value))}")


def yaml_text(value: Any) -> str:
    """A JSON value as YAML in block style; unprintable characters are escaped, too."""
    import yaml  # only for this format: it takes as long to import as click

    class Dumper(yaml.SafeDumper):
        ignore_aliases = staticmethod(lambda _: True)  # type: ignore[assignment]

    def text(dumper: Dumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, None if value.isprintable() else '"')

    Dumper.add_representer(str, text)
    found = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_NO_WRAP).rstrip("\n")
    return _escape(found, lambda character: f"\\U{ord(character):08x}")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON with letters as they are; what is no printable character is escaped, so that none steers a terminal."""
    return _escape(json.dumps(value, indent=indent, ensure_ascii=False), lambda character: json.dumps(character)[1:-1])


def _escape(text: str, escaped: Callable[[str], str]) -> str:
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0].isprintable() else escaped(match[0]), text)


def _print_value(value: Any, form: str) -> None:
    emit(json_text(value, 2) if form == "json" else yaml_text(value))


def _print_table(columns: Sequence[Column[T]], things: Sequence[T], *, wide: bool) -> None:
    shown = [column for column in columns if wide or not column.wide]
    rows = [[clean(column.cell(thing)) for column in shown] for thing in things]
    widths = [max(len(column.title), *(_width(row[i]) for row in rows), 0) for i, column in enumerate(shown)]
    if not rows:
        return
    heading = "  ".join(column.title.ljust(width) for column, width in zip(shown, widths, strict=True))
    emit(paint(heading.rstrip(), "dim", sys.stdout))
    for row in rows:
        cells = zip(shown, row, widths, strict=True)
        emit("  ".join(_coloured(column.title, cell, width) for column, cell, width in cells).rstrip())


def _coloured(title: str, text: str, width: int = 0) -> str:
    colour = state_colour(text) if title == "STATE" else ""
    return paint(text + " " * (width - _width(text)), colour, sys.stdout)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
