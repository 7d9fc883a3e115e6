"""Remembers the run after which a session was last stopped here, to recognise older data as such."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from netvps.domain.session.kept import LastRun
from netvps.files import remove_parts, write_file

log = structlog.get_logger()


class LastRuns:
    """One small file per session, FOLDER/UID.json. Methods block briefly, `write` for an fsync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_parts(folder)

    def read(self, session_uid: str) -> LastRun | None:
        """Returns the recorded run; None if the file is missing or damaged."""
        try:
            content = json.loads(self._path(session_uid).read_bytes())
            return LastRun(str(content["run"]), int(content["generation"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cannot read the last run of a session", session=session_uid, error=str(error))
            return None

    def write(self, session_uid: str, last: LastRun) -> None:
        """Records a run durably, before the stop is reported."""
        if self.read(session_uid) == last:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {"run": last.run, "generation": last.generation}
        write_file(self._path(session_uid), json.dumps(content).encode())

    def remove(self, session_uid: str) -> None:
        """Removes the record; idempotent."""
        self._path(session_uid).unlink(missing_ok=True)

    def _path(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.json"
