"""The audit log: takes events, writes them soon, deletes what is too old, and is read by admins.

Events wait in memory until they are written, at most PENDING: a database that cannot be written refuses changes, each
with its record, but does not keep people from logging in to their sessions. What is lost beyond that is counted in a
record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.access.audit import REFUSALS, AuditEvent, AuditQuery, AuditRecord
from netvps.domain.access.refusal_log import INTERVAL, RefusalLog
from netvps.domain.checks import Checks
from netvps.errors import InvalidInput, NetvpsError
from netvps.services.page import DEFAULT_SIZE, MAX_SIZE, Page, decode_token, encode_token

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import AuditStore, Clock

PENDING: Final = 10_000
LOST: Final = "audit.lost"
_AT_ONCE: Final = 500
"""Events per transaction."""
_PAUSE: Final = 0.2
"""Seconds between transactions, so that a storm of logins does not hold up other writers."""
_RETRY: Final = 5.0
_PRUNE_EVERY: Final = 3600.0
log = structlog.get_logger()


class AuditLog:
    """Writes while `run` runs."""

    def __init__(self, store: AuditStore, clock: Clock, keep: timedelta) -> None:
        """Records older than `keep` are deleted."""
        self._store = store
        self._clock = clock
        self._keep = keep
        self._pending: deque[tuple[datetime, AuditEvent]] = deque()
        self._lost = 0
        self._news = asyncio.Event()
        self._refusals = RefusalLog()

    def note(self, event: AuditEvent) -> None:
        """Takes an event to be written soon."""
        if len(self._pending) >= PENDING:
            self._lost += 1
            return
        self._pending.append((self._clock(), event))
        self._news.set()

    def note_refusal(self, event: AuditEvent, source: str) -> None:
        """Takes a refusal; of each source one a minute, whose number is recorded at the end of the minute."""
        if self._refusals.note(source):
            self.note(event)

    async def run(self) -> None:
        """Writes events and deletes old records, until cancelled; then writes what waits, as at the end of a server."""
        try:
            await self._work()
        finally:
            try:
                await self.flush()
            except NetvpsError as error:
                log.warning("events of the audit log are lost", error=error.message, count=len(self._pending))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        prune_at, sum_up_at = loop.time(), loop.time() + INTERVAL
        while True:
            try:
                if loop.time() >= sum_up_at:
                    self._sum_up()
                    sum_up_at = loop.time() + INTERVAL
                await self.flush()
                if loop.time() >= prune_at:
                    await self._prune()
                    prune_at = loop.time() + _PRUNE_EVERY
            except NetvpsError as error:
                log.warning("cannot write the audit log; retrying", error=error.message, waiting=len(self._pending))
                await asyncio.sleep(_RETRY)
                continue
            await asyncio.sleep(_PAUSE)
            self._news.clear()
            if not self._pending:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(prune_at, sum_up_at) - loop.time())):
                        await self._news.wait()

    async def flush(self) -> None:
        """Writes all events that wait. Raises NetvpsError; then they go on waiting."""
        while self._pending:
            events = list(islice(self._pending, _AT_ONCE))
            lost = self._lost
            if lost:
                detail = (("events", str(lost)),)
                events.append((self._clock(), AuditEvent("", "local", LOST, details=detail)))
            await self._store.audit(events)
            for _ in range(len(events) - bool(lost)):
                self._pending.popleft()
            self._lost -= lost

    async def list_records(
        self, caller: Caller, query: AuditQuery, *, page_size: int = 0, page_token: str = ""
    ) -> Page[AuditRecord]:
        """A page of the records that match, for admins. `limit`, `after` and `before` of the query do not count.

        Raises InvalidInput for a bad size or a token of another list.
        """
        checks, scope = Checks(), f"audit&newest_first={query.newest_first}"
        checks.require(0 <= page_size <= MAX_SIZE, "page_size", f"{page_size} is not between 0 and {MAX_SIZE}")
        place = 0
        with checks.nested():
            place = _number(decode_token(page_token, scope)) if page_token else 0
        checks.done()
        await self.flush()
        size = page_size or DEFAULT_SIZE
        bounds = {"before": place} if query.newest_first else {"after": place}
        found = await self._store.audited(
            AuditQuery(
                size + 1,
                **bounds,
                newest_first=query.newest_first,
                actor=query.actor,
                target=query.target,
                action=query.action,
                since=query.since,
                until=query.until,
            )
        )
        more = encode_token(str(found[size - 1].number), scope) if len(found) > size else ""
        return Page(found[:size], more, found[0].number if found else 0)

    def _sum_up(self) -> None:
        for line in self._refusals.summary():
            details = (("count", str(line.count)), ("sources", str(line.sources)))
            self.note(AuditEvent("", line.source or "several", REFUSALS, outcome="REFUSED", details=details))

    async def _prune(self) -> None:
        while removed := await self._store.prune_audit(self._clock() - self._keep):
            log.info("old records of the audit log deleted", removed=removed)


def _number(position: str) -> int:
    if not position.isdecimal():
        raise InvalidInput.of("page_token", "it is not a token of this list: pass what the last answer had")
    return int(position)
