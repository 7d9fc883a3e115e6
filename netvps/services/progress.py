"""What goes on in sessions while it goes on: in memory beside the log, for whoever looks.

A pull tells how far it is for each megabyte. In the log, each such line would be a transaction and a copy of the
session. Here only the latest of a session is known, and those who follow hear of it once a second at most; with the
server it is gone, and the runner's next line brings it back.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session import Session
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from netvps.domain.session import SessionReport
    from netvps.services.feed import Feed
    from netvps.services.ports import Store

log = structlog.get_logger()

INTERVAL: Final = 1.0
"""Seconds between two lines of progress of a session."""
MAX_LENGTH: Final = 400
_MAX_KNOWN: Final = 4096


class Progress:
    """The latest line of each session. `run` is a task of the program."""

    def __init__(self, store: Store, feed: Feed, interval: float = INTERVAL) -> None:
        self._store = store
        self._feed = feed
        self._interval = interval
        self._reports: dict[tuple[str, str], SessionReport] = {}
        """By the runner that reported and the session: no runner speaks of the sessions of another."""
        self._untold: dict[tuple[str, str], None] = {}

    def is_recorded(self, runner_uid: str, report: SessionReport) -> bool:
        """Whether a report says no more than the one before it, but for the progress."""
        known = self._reports.get((runner_uid, report.session_uid))
        return known is not None and bool(report.progress) and replace(known, progress=report.progress) == report

    def take(self, runner_uid: str, report: SessionReport) -> None:
        """Keeps the progress in a report whose rest is recorded; without any, that of before is over."""
        key = runner_uid, report.session_uid
        self._untold.pop(key, None)
        known = self._reports.pop(key, None)
        if not report.progress:
            return
        self._reports[key] = replace(report, progress=report.progress[:MAX_LENGTH])
        if known is None or known.progress != self._reports[key].progress:
            self._untold[key] = None
        while len(self._reports) > _MAX_KNOWN:
            oldest = next(iter(self._reports))
            del self._reports[oldest]
            self._untold.pop(oldest, None)

    def end(self, runner_uid: str) -> None:
        """Forgets what a runner told: it comes anew, or is gone."""
        for key in [key for key in self._reports if key[0] == runner_uid]:
            del self._reports[key]
            self._untold.pop(key, None)

    def shown(self, session: Session) -> Session:
        """The session with its progress as its message, if that is of the state that it is in."""
        report = self._reports.get((session.runner, session.uid))
        if report is None or (report.epoch, report.generation, report.state, report.message) != (
            session.epoch,
            session.observed_generation,
            session.state,
            session.message,
        ):
            return session
        return replace(session, message=report.progress)

    async def run(self) -> None:
        """Tells those who follow what is new, until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if self._untold:
                try:
                    await self._tell()
                except NetvpsError as error:
                    log.debug("progress is not told", reason=error.message)

    async def _tell(self) -> None:
        keys = list(self._untold)
        async with self._store.read() as reader:
            for key in keys:
                session = await reader.get(Session, key[1])
                shown = self.shown(session) if session else None
                if shown is session or shown is None or self._feed.show(shown, reader.revision):
                    self._untold.pop(key, None)
