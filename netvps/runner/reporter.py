"""What a worker says of its session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from netvps.domain.session import Assignment, LastExit, SessionReport, SessionState, Snapshot

PROGRESS_SECONDS = 1.0


class Reporter:
    """Makes reports; how the container last ended goes with each of them once that is known."""

    def __init__(self, post: Callable[[SessionReport], None]) -> None:
        self._post = post
        self._said: SessionReport | None = None
        self._progress_after = 0.0
        self.last_exit: LastExit | None = None

    def say(
        self,
        want: Assignment,
        state: SessionState,
        *,
        reason: str = "",
        message: str = "",
        address: str = "",
        snapshot: Snapshot | None = None,
    ) -> None:
        """Reports a state, for the assignment that is being worked on."""
        self._said = SessionReport(
            want.session_uid, want.epoch, want.generation, state, reason, message, address, snapshot, self.last_exit
        )
        self._post(self._said)

    def progress(self, text: str) -> None:
        """Repeats what was said last with how far it is; once in PROGRESS_SECONDS, and what comes between is lost."""
        now = time.monotonic()
        if self._said and now >= self._progress_after:
            self._progress_after = now + PROGRESS_SECONDS
            self._post(replace(self._said, progress=text))

    def remark(self, message: str) -> None:
        """Repeats what was said last, with another message; nothing if nothing was said."""
        if self._said:
            self._said = replace(self._said, message=message)
            self._post(self._said)
