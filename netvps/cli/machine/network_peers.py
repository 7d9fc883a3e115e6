"""`netvps network peers`: how each runner reaches each other, as a matrix while it fits, else pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.session.sessions import to_json
from netvps.cli.ui.arguments import RUNNER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.display.text import clean
from netvps.domain.overlay.path import Path, PathState, rtt_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MATRIX: Final = 8
"""Runners that fit beside each other."""


@click.command("peers")
@click.argument("runners", nargs=-1, type=RUNNER, metavar="[RUNNER...]")
@format_option
def peers(runners: tuple[str, ...], form: str) -> None:
    """Measure the links between runners, and print how they are.

    Without a name: all, if there are at most 16. One: its links to all others, and theirs to it. More: those between
    them. A row is who measured, a column whom: the round trip if all is well.

    \b
    Examples: netvps network peers
              netvps network peers box1 box2 -o wide
    """  # noqa: D301 — Click means the character
    paths = client().probe_links(runners)
    if form in {"jsonl", "name"}:
        _view().print_all(paths, form)
        return
    found = sorted(paths, key=lambda path: (path.start, path.end))
    names = sorted({name for path in found for name in (path.start, path.end)})
    if form == "table" and 0 < len(names) <= _MATRIX:
        _print_matrix(found, names)
    else:
        _view().print_all(found, form)
    if form in {"table", "wide"}:
        _explain(found)


def _print_matrix(paths: Sequence[Path], names: Sequence[str]) -> None:
    cells = {(path.start, path.end): _cell(path) for path in paths}
    columns = [Column("FROM \\ TO", lambda start: start)]
    columns += [_column(end, cells) for end in names]
    View(name=str, columns=columns, json=str).print_all(names, "table")


def _column(end: str, cells: Mapping[tuple[str, str], str]) -> Column[str]:
    return Column(end, lambda start: cells.get((start, end), "-"))


def _cell(path: Path) -> str:
    """Shows UP by the round trip alone."""
    words = rtt_words(path.rtt)
    return words if path.state is PathState.UP and words else f"{path.state} {words}".rstrip()


def _explain(paths: Sequence[Path]) -> None:
    """Each reason once, they name whom they concern: that a runner is offline is the same for all paths from there."""
    if not paths:
        note("no two runners to measure between; see netvps runner ls")
    if messages := dict.fromkeys(clean(path.message) for path in paths if path.message):
        emit("\n".join(("", *messages)))


def _view() -> View[Path]:
    def mtu(path: Path) -> str:
        return str(path.mtu) if path.mtu == path.expected_mtu else f"{path.mtu} of {path.expected_mtu}"

    def way(path: Path) -> str:
        return f"{path.start_address} to {path.end_address}" if path.start_address and path.end_address else ""

    return View(
        name=lambda path: f"{path.start} {path.end}",
        columns=(
            Column("FROM", lambda path: path.start),
            Column("TO", lambda path: path.end),
            Column("STATE", lambda path: path.state),
            Column("RTT", lambda path: rtt_words(path.rtt)),
            Column("MTU", mtu),
            Column("PATH", way),
        ),
        json=to_json,
    )
