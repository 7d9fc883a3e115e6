"""Records on disk which tasks were started here, and how they ended.

So that a command never runs twice in an epoch: also not where its container was removed, by hand or by a
`docker container prune`, before its end was reported.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from netvps.domain.task.task import TaskCause, TaskReport, TaskState
from netvps.files import remove_parts, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_READ: Final[dict[str, Callable[[str], Any]]] = {
    "state": TaskState,
    "cause": TaskCause,
    "start_time": datetime.fromisoformat,
    "end_time": datetime.fromisoformat,
}
log = structlog.get_logger()


class TaskRecords:
    """The latest report of each task, RUNNING before its start, in FOLDER/ID.json. Methods block briefly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_parts(folder)

    def read(self, task_id: str) -> TaskReport | None:
        """Returns the record; None if the file is missing. A damaged one raises ValueError."""
        try:
            content: dict[str, Any] = json.loads(self._path(task_id).read_bytes())
        except FileNotFoundError:
            return None
        known = {each.name for each in fields(TaskReport)}
        values: dict[str, Any] = {name: value for name, value in content.items() if name in known}
        for name, read in _READ.items():
            if values.get(name) is not None:
                values[name] = read(values[name])
        return TaskReport(**values)

    def write(self, report: TaskReport) -> None:
        """Records a report durably."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(self._path(report.id), json.dumps(asdict(report), default=datetime.isoformat).encode())

    def remove(self, task_id: str) -> None:
        """Removes the record; idempotent."""
        self._path(task_id).unlink(missing_ok=True)

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.json"
