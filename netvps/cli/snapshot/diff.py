"""`netvps diff` and `netvps snapshot diff`: what a snapshot would hold, and what differs between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION, SNAPSHOT
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.display.units import size_words

if TYPE_CHECKING:
    from netvps.domain.snapshot.diff import Count, Diff, FolderChange, PathChange

_KINDS: Final = {"ADDED": "A", "CHANGED": "C", "REMOVED": "R"}

_session = click.argument("name", type=SESSION, metavar="NAME")
_most = click.option("-n", "--max", "most", type=click.IntRange(1, 1000), default=20, show_default=True,
                     help="How many paths, and how many folders, to print.")  # fmt: skip
_depth = click.option("--depth", type=click.IntRange(1, 16), default=2, show_default=True,
                      help="Sum folders up at this depth.")  # fmt: skip


@click.command("diff")
@_session
@_most
@_depth
@format_option
def diff(name: str, *, most: int, depth: int, form: str) -> None:
    """Print what a snapshot of a session would hold, biggest first: A added, C changed, R removed since its image.

    Example: netvps diff dev1
    """
    _print(client().diff_session(name, max_paths=most, folder_depth=depth), form)


@click.command("diff")
@_session
@click.argument("before", type=SNAPSHOT, metavar="SNAPSHOT")
@click.argument("after", type=SNAPSHOT, default="", metavar="[OTHER]")
@_most
@_depth
@format_option
def snapshot_diff(name: str, before: str, after: str, *, most: int, depth: int, form: str) -> None:
    """Print what differs from a snapshot to another, or to the present state: A added, C changed, R removed.

    Example: netvps snapshot diff dev1 before-upgrade
    """
    found = client().diff_session(name, from_id=before, to_id=after, max_paths=most, folder_depth=depth)
    _print(found, form)


def _print(diff: Diff, form: str) -> None:
    if form not in {"table", "wide"}:
        from netvps.rpc.jsonform import to_json

        View(name=_names, columns=(), json=to_json).print_one(diff, form)
        return
    if not diff.paths:
        note("nothing differs")
        return
    _folder_view().print_all(diff.folders, form)
    emit("")
    _path_view().print_all(diff.paths, form)
    counts = (("added", diff.added), ("changed", diff.changed), ("removed", diff.removed))
    words = ", ".join(_words(name, count) for name, count in counts if count.count)
    left_out = f"; a snapshot leaves out {_words('excluded', diff.excluded)}" if diff.excluded.count else ""
    note(f"{'at least ' if diff.incomplete else ''}{words or 'nothing'}{left_out}")
    if diff.incomplete:
        note("netvps: warning: not everything was compared, as it takes too long; the figures are lower bounds")


def _words(name: str, count: Count) -> str:
    return f"{count.count} {name}" + (f" ({size_words(count.size_bytes)})" if count.size_bytes else "")


def _names(diff: Diff) -> str:
    return "\n".join(change.path for change in diff.paths)


def _folder_view() -> View[FolderChange]:
    return View(
        name=lambda folder: folder.path,
        columns=(
            Column("SIZE", lambda folder: size_words(folder.size_bytes)),
            Column("PATHS", lambda folder: str(folder.count)),
            Column("FOLDER", lambda folder: folder.path),
        ),
        json=str,
    )


def _path_view() -> View[PathChange]:
    return View(
        name=lambda change: change.path,
        columns=(
            Column("SIZE", lambda change: size_words(change.size_bytes) if change.size_bytes else ""),
            Column("KIND", lambda change: _KINDS[change.kind] + (" excluded" if change.excluded else "")),
            Column("PATH", lambda change: change.path),
        ),
        json=str,
    )
