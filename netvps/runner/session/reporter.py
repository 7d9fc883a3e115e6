"""Reports the state of one session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from netvps.domain.session.session import Assignment, LastExit, SessionReport, SessionState, SnapshotImage
from netvps.domain.snapshot.snapshot import RestoreResult, SnapshotResult

PROGRESS_SECONDS = 1.0


class Reporter:
    """Builds reports; adds how the container last ended, and what became of orders for snapshots."""

    def __init__(self, post: Callable[[SessionReport], None]) -> None:
        self._post = post
        self._last: SessionReport | None = None
        self._progress_after = 0.0
        self.last_exit: LastExit | None = None
        self.snapshots: tuple[SnapshotResult, ...] = ()
        self.restore: RestoreResult | None = None

    def report(
        self,
        assignment: Assignment,
        state: SessionState,
        *,
        reason: str = "",
        message: str = "",
        address: str = "",
        snapshot: SnapshotImage | None = None,
        kept: SnapshotResult | None = None,
    ) -> None:
        """Reports a state for the assignment in work; `kept` is the snapshot that the stop of `snapshot` left."""
        self._last = SessionReport(
            assignment.session_uid,
            assignment.epoch,
            assignment.generation,
            state,
            reason,
            message,
            address,
            snapshot,
            self.last_exit,
            snapshots=(*self.snapshots, kept) if kept else self.snapshots,
            restore=self.restore,
        )
        self._post(self._last)

    def progress(self, text: str) -> None:
        """Repeats the last report with progress; at most once in PROGRESS_SECONDS, dropping what comes in between."""
        now = time.monotonic()
        if self._last and now >= self._progress_after:
            self._progress_after = now + PROGRESS_SECONDS
            self._post(replace(self._last, progress=text))

    def remark(self, message: str) -> None:
        """Repeats the last report with another message, if there was one."""
        if self._last:
            self._last = replace(self._last, message=message)
            self._post(self._last)
