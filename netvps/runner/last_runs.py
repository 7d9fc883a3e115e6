"""After which run of its container a session was last stopped here: by that, an older state is known as one."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from netvps.domain.kept import LastRun
from netvps.runner.files import remove_parts, write_file

log = structlog.get_logger()


class LastRuns:
    """One small file for each session, FOLDER/UID.json. All methods block for a moment, `write` for an fsync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_parts(folder)

    def read(self, session_uid: str) -> LastRun | None:
        """What was written last. A file that somebody removed or broke stands for nothing."""
        try:
            said = json.loads(self._path(session_uid).read_bytes())
            return LastRun(str(said["run"]), int(said["generation"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the last run of a session cannot be read", session=session_uid, error=str(error))
            return None

    def write(self, session_uid: str, last: LastRun) -> None:
        """Notes a run, before the stop is told: what is told is on the disk."""
        if self.read(session_uid) == last:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {"run": last.run, "generation": last.generation}
        write_file(self._path(session_uid), json.dumps(content).encode())

    def remove(self, session_uid: str) -> None:
        """Removes it. Nothing there is no error."""
        self._path(session_uid).unlink(missing_ok=True)

    def _path(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.json"
