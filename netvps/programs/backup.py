"""`netvps backup FILE`: copies the database and the CA of a running server into one file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps import __version__
from netvps.adapters import archive
from netvps.adapters.ca import files as ca_files
from netvps.adapters.store.backup import check_database, cluster_of, copy_database, database_file
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.errors import ConfigError
from netvps.process import clock
from netvps.process.process import guarded
from netvps.programs.restore import CA, DATABASE, refuse_unfinished, server_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME: Final = "backup"
_MIB: Final = 1 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.backup, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    settings, target = server_settings(given), given["file"].absolute()
    database, ca = database_file(settings.database), settings.paths.state / CA
    refuse_unfinished(settings.paths.state)
    if not ca_files.exists(ca):
        raise ConfigError(f"there is no CA {ca}: give the state folder of a server that was started, with --state-dir")
    ca_files.load(ca)
    with _draft(target) as name:
        draft = Path(name)
        copy_database(database, draft / DATABASE)
        check_database(draft / DATABASE)
        shutil.copytree(ca, draft / CA)  # it never changes, so it needs no snapshot
        made = archive.pack(
            draft,
            target,
            version=__version__,
            created=clock.now().isoformat(timespec="seconds"),
            cluster_id=cluster_of(draft / DATABASE),
        )
    size = sum(entry.size for entry in made.entries) / _MIB
    print(f"backup of cluster {made.cluster_id} in {target}: {size:.1f} MiB, and the keys of its CA: keep it secret")  # noqa: T201 — stdout is data
    return 0


def _draft(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A private folder (0700) beside the backup, so that it is on the same file system."""
    try:
        return tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise ConfigError(f"cannot write in {target.parent} ({error.strerror}): give another name") from None


if __name__ == "__main__":
    sys.exit(main())
