"""What is said, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from netvps.domain.overlay.peer_health import ProbeReport
from netvps.domain.runner.runner import Capacity, Heartbeat
from netvps.domain.session.session import SessionReport, SessionState
from netvps.domain.snapshot.copies import CopyReport, CopyState
from netvps.runner.report_outbox import Outgoing, ReportOutbox

A = SessionReport("a", 1, 1, SessionState.RUNNING)
B = SessionReport("b", 1, 1, SessionState.DELETED)


def connection(board: ReportOutbox, interval: float = 3600.0) -> Outgoing:
    return board.outgoing(lambda: Heartbeat(Capacity(cpus=2)), lambda: interval)


async def silent(outgoing: Outgoing) -> bool:
    try:
        async with asyncio.timeout(0.02):
            await anext(outgoing)
    except TimeoutError:
        return True
    return False


async def test_only_the_newest_is_said_and_only_once() -> None:
    board = ReportOutbox()
    outgoing = connection(board)
    board.post(A)
    board.post(newer := replace(A, message="more"))
    assert await anext(outgoing) == newer
    board.post(newer)
    assert await silent(outgoing)


async def test_every_connection_hears_all_of_it_again_but_an_end_is_said_once() -> None:
    board = ReportOutbox()
    board.post(A)
    board.post(B)
    first = connection(board)
    assert [await anext(first), await anext(first)] == [A, B]
    second = connection(board)
    assert await anext(second) == A
    assert await silent(second)


async def test_damage_is_said_though_more_is_to_say_before_it_is_sent() -> None:
    board = ReportOutbox()
    report = CopyReport("session", "snapshot", CopyState.PENDING)
    outgoing = connection(board)
    board.post_copy(replace(report, damaged="r1"))
    board.post_copy(later := replace(report, message="its checksum does not match"))
    assert await anext(outgoing) == replace(later, damaged="r1")
    board.post_copy(progress := replace(report, done_bytes=1))
    assert await anext(outgoing) == progress
    board.post_copy(replace(report, damaged="r2"))
    board.post_copy(held := replace(report, state=CopyState.HELD))
    assert await anext(outgoing) == replace(held, damaged="r2")
    assert await anext(connection(board)) == held  # it is repaired


async def test_an_answer_is_for_the_connection_that_asked() -> None:
    board = ReportOutbox()
    outgoing = connection(board)
    board.post(A)
    board.answer(ProbeReport("p", ()))
    assert [await anext(outgoing), await anext(outgoing)] == [ProbeReport("p", ()), A]
    board.answer(ProbeReport("late", ()))
    assert await anext(connection(board)) == A


async def test_heartbeats_come_between_reports_however_many_these_are() -> None:
    board = ReportOutbox()
    outgoing = connection(board, interval=0.0)
    board.post(A)
    assert await anext(outgoing) == Heartbeat(Capacity(cpus=2))
