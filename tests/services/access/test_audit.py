"""The audit log as a service: it waits for the database, is bounded, sums refusals up, and only admins read it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.audit import PRUNED, REFUSALS, AuditEvent, AuditQuery, verify
from netvps.errors import Exhausted, InvalidInput
from netvps.services.access import audit as service
from netvps.services.access.audit import LOST, AuditLog
from tests.fakes.store import MemoryStore
from tests.fakes.world import ROOT
from tests.rpc.site import now
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime

LOGIN = AuditEvent("alice", "192.0.2.1:1", "ssh.login", "sessions/dev1.alice")


class FullStore(MemoryStore):
    """Its disk is full for some time."""

    full = True

    async def audit(self, events: Iterable[tuple[datetime, AuditEvent]]) -> None:
        if self.full:
            raise Exhausted("the disk is full")
        await super().audit(events)


@asynccontextmanager
async def running(log: AuditLog) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(log.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def test_events_are_written_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAUSE", 0.001)
    store = MemoryStore(now)
    log = AuditLog(store, now, timedelta(days=1))
    async with running(log):
        for count in (1, 2):
            log.note(LOGIN)
            await until(lambda wanted=count: len(store.records) == wanted)
    assert {each.event for each in store.records} == {LOGIN}


async def test_what_waits_at_the_end_is_written() -> None:
    store = MemoryStore(now)
    log = AuditLog(store, now, timedelta(days=1))
    async with running(log):
        log.note(LOGIN)
        await until(lambda: len(store.records) == 1)
        log.note(LOGIN)  # within the pause
    assert len(store.records) == 2


async def test_events_wait_for_the_database_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_RETRY", 0.001)
    monkeypatch.setattr(service, "PENDING", 3)
    store = FullStore(now)
    log = AuditLog(store, now, timedelta(days=1))
    for _ in range(5):
        log.note(LOGIN)
    async with running(log):
        await asyncio.sleep(0.02)
        assert store.records == []
        store.full = False
        await until(lambda: len(store.records) == 4)
    assert store.records[-1].event.action == LOST
    assert store.records[-1].event.details == (("events", "2"),)
    assert verify(store.records) == []


async def test_refusals_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "INTERVAL", 0.05)
    monkeypatch.setattr(service, "_PAUSE", 0.001)
    store = MemoryStore(now)
    log = AuditLog(store, now, timedelta(days=1))
    for _ in range(4):
        log.note_refusal(LOGIN, "192.0.2.1")
    async with running(log):
        await until(lambda: len(store.records) == 2)
    summary = store.records[1].event
    assert (summary.action, summary.origin, dict(summary.details)["count"]) == (REFUSALS, "192.0.2.1", "3")


async def test_old_records_are_deleted() -> None:
    store = MemoryStore(now)
    await store.audit([(now() - timedelta(days=3), LOGIN), (now(), LOGIN)])
    async with running(AuditLog(store, now, timedelta(days=2))):
        await until(lambda: [each.number for each in store.records] == [2, 3])
    assert store.records[-1].event.action == PRUNED


async def test_admins_read_it_page_by_page_both_ways() -> None:
    store = MemoryStore(now)
    log = AuditLog(store, now, timedelta(days=1))
    for _ in range(5):
        log.note(LOGIN)  # not written yet: reading writes it first
    for newest_first, expected in ((False, [1, 2, 3, 4, 5]), (True, [5, 4, 3, 2, 1])):
        token, numbers = "", []
        while True:
            query = AuditQuery(0, newest_first=newest_first)
            page = await log.list_records(ROOT, query, page_size=2, page_token=token)
            numbers += [each.number for each in page.items]
            token = page.next_page_token
            if not token:
                break
        assert numbers == expected
    first = await log.list_records(ROOT, AuditQuery(0), page_size=2)
    with pytest.raises(InvalidInput, match="page_token"):
        await log.list_records(ROOT, AuditQuery(0, newest_first=True), page_token=first.next_page_token)
    with pytest.raises(InvalidInput, match="page_size"):
        await log.list_records(ROOT, AuditQuery(0), page_size=1001)
