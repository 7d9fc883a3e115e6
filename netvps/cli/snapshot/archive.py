"""`netvps snapshot export` and `netvps snapshot import`: snapshots as files."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.session.filters import wanted_labels
from netvps.cli.ui.arguments import SESSION, SNAPSHOT
from netvps.cli.ui.output import emit, note
from netvps.display.units import size_words
from netvps.errors import AlreadyExists, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

_STANDARD: Final = "-"
_PIECE: Final = 64 * 1024
_session = click.argument("name", type=SESSION, metavar="NAME")


@click.command("export")
@_session
@click.argument("snapshot_id", type=SNAPSHOT, metavar="SNAPSHOT")
@click.argument("file", metavar="FILE")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(name: str, snapshot_id: str, file: str, *, force: bool) -> None:
    """Write a snapshot into a file, which any netvps can import: an OCI image layout, compressed by zstd.

    FILE is complete once it has its name. With - as FILE it goes to the standard output.

    Example: netvps snapshot export dev1 before-upgrade dev1.tar.zst
    """
    if file == _STANDARD and sys.stdout.isatty():
        raise click.UsageError("the archive is binary: give a file, or a pipe")
    size = 0
    with _written(file, force=force) as output, closing(client().export_snapshot(name, snapshot_id)) as pieces:
        for piece in pieces:
            output.write(piece)
            size += len(piece)
    note(f"snapshot {snapshot_id} of session {name} is in {file}, {size_words(size)}")


@click.command("import")
@_session
@click.argument("file", metavar="FILE")
@click.argument("snapshot_id", type=SNAPSHOT, default="", metavar="[SNAPSHOT]")
@click.option("-d", "--description", default="", help="A note for people.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="A label; may be repeated.")
@click.option("--pin", is_flag=True, help="Protect it from deletion.")
def import_(name: str, file: str, snapshot_id: str, *, description: str, labels: tuple[str, ...], pin: bool) -> None:
    """Make a snapshot of a session from a file that `netvps snapshot export` wrote.

    Restore it, or clone it. Without SNAPSHOT it is named by the time. With - as FILE it is read from the standard
    input. A file that is damaged, of another machine's kind or not safe is refused, and changes nothing.

    Example: netvps snapshot import dev1 dev1.tar.zst from-backup
    """
    from netvps.domain.snapshot.snapshot import SnapshotDraft

    given = {key: value or "" for key, value in wanted_labels(labels).items()}
    draft = SnapshotDraft(snapshot_id, description, given, pin)
    with _opened(file) as archive:
        made = client().import_snapshot(name, draft, iter(lambda: archive.read(_PIECE), b""))
    emit(made.id)
    for warning in made.warnings:
        note(f"netvps: warning: {warning}")
    note(f"snapshot {made.id} of session {name} is ready; next: netvps snapshot restore {name} {made.id}")


@contextmanager
def _written(file: str, *, force: bool) -> Iterator[BinaryIO]:
    """The file to write; it gets its name once the block has succeeded."""
    if file == _STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists() and not force:
        raise AlreadyExists(f"{file} exists: choose another name, or replace it with --force")
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        draft.replace(path)
    except OSError as error:
        raise InvalidInput.of("FILE", f"cannot write {file}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == _STANDARD:
        yield sys.stdin.buffer
        return
    try:
        archive = Path(file).open("rb")  # noqa: SIM115 — closed below, and only its own errors are mapped
    except OSError as error:
        raise InvalidInput.of("FILE", f"cannot read {file}: {error.strerror}") from None
    with archive:
        yield archive
