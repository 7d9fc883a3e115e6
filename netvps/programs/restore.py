"""`netvps restore FILE`: replaces a server's database and CA by those of a backup; both, or neither.

Two things cannot be replaced atomically. So a marker file exists during the replacement, and no server starts while it
exists: an interrupted restore is run again, and nothing is lost, because the earlier files are moved aside.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters import archive
from netvps.adapters.ca import files as ca_files
from netvps.adapters.store.backup import check_database, database_file
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.errors import AlreadyExists, ConfigError, DataLoss
from netvps.files import sync_folder
from netvps.process import clock
from netvps.process.locks import hold
from netvps.process.process import guarded
from netvps.programs.wiring.remembered import load_remembered
from netvps.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE: Final = "netvps.db"
CA: Final = "ca"
_NAME: Final = "restore"
_MARK: Final = "restore-unfinished"
_WAL: Final = ("", "-wal", "-shm")
"""A database and its companion files in WAL mode. Left behind, they would be applied to another database."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.restore, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def server_settings(given: Mapping[str, Any]) -> ServerSettings:
    """The server's settings from the flags, the environment and the file. Raises ConfigError."""
    return load_remembered(ServerSettings, {"state_dir": given["state_dir"]}, given["config"])


def refuse_unfinished(state: Path) -> None:
    """Raises ConfigError if a restore into this folder was interrupted: the files may be of two clusters."""
    if (state / _MARK).exists():
        raise ConfigError(
            f"a restore into {state} was interrupted: run it again (netvps restore FILE --yes); the earlier files"
            f" are in {state}/replaced-*",
            reason="RESTORE_UNFINISHED",
        )


def _main(given: Mapping[str, Any]) -> int:
    settings = server_settings(given)
    database, state = database_file(settings.database), settings.paths.state
    settings.paths.prepare()
    with (
        hold(state / "up.lock", "netvps up"),
        hold(state / "server.lock", "netvps server"),
        tempfile.TemporaryDirectory(prefix=".restore-", dir=state) as name,
    ):
        manifest = _checked(given["file"].absolute(), Path(name))
        aside = _replace(Path(name), database, state, yes=given["yes"])
    print(f"restored cluster {manifest.cluster_id} as of {manifest.created} (netvps {manifest.version}) into {state}")  # noqa: T201 — stdout is data
    if aside:
        print(f"the earlier files are in {aside}: remove them when the server works")  # noqa: T201
    print(  # noqa: T201
        "sessions created since the backup are unknown now: their containers are kept, and runners log their names"
    )
    return 0


def _checked(source: Path, draft: Path) -> archive.Manifest:
    """Unpacks a backup and validates it completely, before anything is changed."""
    manifest = archive.unpack(source, draft)
    if not (draft / DATABASE).is_file() or not (draft / CA).is_dir():
        raise DataLoss(f"backup {source} lacks the database or the CA: use another one; nothing was changed")
    check_database(draft / DATABASE)
    ca_files.load(draft / CA)
    return manifest


def _replace(draft: Path, database: Path, state: Path, *, yes: bool) -> Path | None:
    """Moves the earlier files aside and the new ones in; returns the folder of the earlier ones, if there were any."""
    there = [path for path in (*(Path(f"{database}{suffix}") for suffix in _WAL), state / CA) if path.exists()]
    if there and not yes:
        raise AlreadyExists(
            f"{there[0]} exists already: with --yes it is moved aside and replaced by the backup",
            reason="WOULD_REPLACE",
        )
    aside = state / f"replaced-{clock.now():%Y%m%dT%H%M%S.%fZ}" if there else None
    try:
        (state / _MARK).touch(0o600)
        sync_folder(state)
        if aside:
            aside.mkdir(0o700)
        for path in there:
            shutil.move(path, aside or state)
        database.parent.mkdir(0o700, parents=True, exist_ok=True)
        shutil.move(draft / DATABASE, database)
        shutil.move(draft / CA, state / CA)
        sync_folder(database.parent)
        sync_folder(state)
        (state / _MARK).unlink()
        sync_folder(state)
    except OSError as error:
        raise ConfigError(
            f"the restore into {state} was interrupted ({error.strerror or error}): correct that and run it again with"
            f" --yes; the earlier files are in {aside or state}"
        ) from None
    return aside


if __name__ == "__main__":
    sys.exit(main())
