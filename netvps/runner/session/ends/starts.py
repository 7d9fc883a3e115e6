"""Remembers the last start of a session that may stay down, to recognise that its container ended by itself.

Sessions that are always restarted have no record.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import structlog

from netvps.domain.session.container import Container
from netvps.domain.session.exits import is_steady, why_stays_down
from netvps.domain.session.kept import Started, keeps
from netvps.domain.session.session import Assignment
from netvps.domain.session.spec import RestartPolicy
from netvps.files import remove_parts, write_file

log = structlog.get_logger()


class Starts:
    """One small file per session, FOLDER/UID.json. Methods block briefly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_parts(folder)

    def why_down(self, assignment: Assignment, container: Container) -> str:
        """Why a container that has ended stays down; '' if it is to be started."""
        failures = self._failures(assignment, container)
        return "" if failures is None else why_stays_down(assignment.spec, container.exit_code, failures)

    def starting(self, assignment: Assignment, container: Container) -> None:
        """Records a start that is about to happen."""
        if assignment.spec.restart_policy is not RestartPolicy.ALWAYS:
            failures = self._failures(assignment, container) or 0
            self._write(assignment.session_uid, Started(assignment.generation, container.run, failures))

    def runs(self, assignment: Assignment, container: Container) -> None:
        """Records the generation of a running container, if it is a new one."""
        if assignment.spec.restart_policy is RestartPolicy.ALWAYS:
            return
        before = self._read(assignment.session_uid)
        if before is None or before.generation != assignment.generation:
            failures = before.failures if before else 0
            self._write(assignment.session_uid, Started(assignment.generation, container.run, failures))

    def remove(self, session_uid: str) -> None:
        """Removes the record; idempotent."""
        self._path(session_uid).unlink(missing_ok=True)

    def _failures(self, assignment: Assignment, container: Container) -> int | None:
        """Failures in a row, with the last end; None if the container has not ended since it was started for this."""
        record = (
            self._read(assignment.session_uid) if assignment.spec.restart_policy is not RestartPolicy.ALWAYS else None
        )
        if record is None or record.generation != assignment.generation or keeps(record.run, container.run):
            return None
        return 1 if is_steady(container) else record.failures + 1

    def _write(self, session_uid: str, record: Started) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self._path(session_uid), json.dumps(asdict(record)).encode())

    def _read(self, session_uid: str) -> Started | None:
        try:
            content = json.loads(self._path(session_uid).read_bytes())
            return Started(int(content["generation"]), str(content["run"]), int(content["failures"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cannot read the last start of a session", session=session_uid, error=str(error))
            return None

    def _path(self, session_uid: str) -> Path:
        return self._folder / f"{session_uid}.json"
