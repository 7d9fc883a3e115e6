"""Progress of running actions: in memory beside the log, for watchers.

A pull reports its progress every megabyte. In the log, each report would be a transaction and a copy of the session.
Instead, only the latest progress of each session is kept in memory, and watchers get it at most once a second. It is
lost when the server stops, and restored by the runner's next report.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.session.session import Session
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from netvps.domain.session.session import SessionReport
    from netvps.services.feed import Feed
    from netvps.services.ports import Store

log = structlog.get_logger()

INTERVAL: Final = 1.0
"""Minimum seconds between two progress events of a session."""
MAX_LENGTH: Final = 400
_MAX_KNOWN: Final = 4096


class Progress:
    """The latest progress of each session. `run` is a task of the program."""

    def __init__(self, store: Store, feed: Feed, interval: float = INTERVAL) -> None:
        self._store = store
        self._feed = feed
        self._interval = interval
        self._reports: dict[tuple[str, str], SessionReport] = {}
        """By runner and session, so that a runner cannot report about the sessions of another."""
        self._unpublished: dict[tuple[str, str], None] = {}

    def is_recorded(self, runner_uid: str, report: SessionReport) -> bool:
        """Whether a report differs from the one before it in its progress only."""
        known = self._reports.get((runner_uid, report.session_uid))
        return known is not None and bool(report.progress) and replace(known, progress=report.progress) == report

    def store(self, runner_uid: str, report: SessionReport) -> None:
        """Stores the progress of a report that was recorded. A report without progress ends the earlier one."""
        key = runner_uid, report.session_uid
        self._unpublished.pop(key, None)
        known = self._reports.pop(key, None)
        if not report.progress:
            return
        self._reports[key] = replace(report, progress=report.progress[:MAX_LENGTH])
        if known is None or known.progress != self._reports[key].progress:
            self._unpublished[key] = None
        while len(self._reports) > _MAX_KNOWN:
            oldest = next(iter(self._reports))
            del self._reports[oldest]
            self._unpublished.pop(oldest, None)

    def end(self, runner_uid: str) -> None:
        """Discards the progress reported by a runner, when it reconnects or is gone."""
        for key in [key for key in self._reports if key[0] == runner_uid]:
            del self._reports[key]
            self._unpublished.pop(key, None)

    def shown(self, session: Session) -> Session:
        """The session with its progress as message, if the progress is about its current state."""
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
        """Publishes new progress to watchers until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if self._unpublished:
                try:
                    await self._publish()
                except NetvpsError as error:
                    log.debug("cannot publish progress; retrying", reason=error.message)

    async def _publish(self) -> None:
        keys = list(self._unpublished)
        async with self._store.read() as reader:
            for key in keys:
                session = await reader.get(Session, key[1])
                shown = self.shown(session) if session else None
                if shown is session or shown is None or self._feed.show(shown, reader.revision):
                    self._unpublished.pop(key, None)
