"""Progress is seen by whoever looks, and the log knows nothing of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.services.sessions import progress
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.watch import EventType
from netvps.tasks import Tasks
from tests.fakes.counting import CountingStore
from tests.fakes.world import ALICE, BOB, HELLO, ROOT, World
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.session.event import SessionEvent


def _pulling(session: Session, line: str = "") -> SessionReport:
    return SessionReport(
        session.uid, session.epoch, session.generation, SessionState.PREPARING, message="pulling x", progress=line
    )


async def _pulled(world: World) -> Session:
    """A session whose image is being pulled."""
    if not await world.rows(Runner):
        await world.runner()
    session = await world.session()
    await world.runners.report(session.runner, _pulling(session))
    return session


async def _row(world: World, session: Session) -> Session:
    row = await world.row(Session, session.uid)
    assert row is not None
    return row


async def _message(world: World) -> str:
    return (await world.sessions.get(ALICE, "dev1")).message


async def test_a_thousand_lines_are_no_change_and_the_last_is_shown(world: World) -> None:
    session = await _pulled(world)
    before = await world.revision()
    for number in range(1000):
        await world.runners.report(session.runner, _pulling(session, f"pulling x: {number} MB of 1000 MB"))
    assert await world.revision() == before
    assert await _message(world) == "pulling x: 999 MB of 1000 MB"
    assert [s.message for s in (await world.sessions.list(ALICE)).items] == ["pulling x: 999 MB of 1000 MB"]
    await world.runners.report(session.runner, replace(_pulling(session), state=SessionState.STARTING, message="soon"))
    assert await _message(world) == "soon"


async def test_a_line_after_the_first_does_not_touch_the_store(world: World) -> None:
    session = await _pulled(world)
    store = CountingStore(world.store)
    world.runners._store = store
    for number in range(100):
        await world.runners.report(session.runner, _pulling(session, f"{number} MB"))
    assert (store.reads, store.writes) == (1, 0)


async def test_what_comes_with_the_first_line_is_recorded(world: World) -> None:
    await world.runner()
    session = await world.session()
    await world.runners.report(session.runner, _pulling(session, "1 MB"))
    recorded = await _row(world, session)
    assert (recorded.state, recorded.message) == (SessionState.PREPARING, "pulling x")
    # Taken for lost, and come again: the same report is news, whatever was reported before.
    await world.runners.offline(session.runner)
    await world.runners.online(session.runner, HELLO)
    await world.runners.report(session.runner, _pulling(session, "1 MB"))
    assert (await _row(world, session)).state is SessionState.PREPARING


async def test_progress_of_another_state_or_runner_is_not_shown(world: World) -> None:
    session = await _pulled(world)
    other = await world.runner("lab2")
    await world.runners.report(other.uid, _pulling(session, "not its own"))
    assert await _message(world) == "pulling x"
    await world.runners.report(session.runner, _pulling(session, "1 MB"))
    assert await _message(world) == "1 MB"
    await world.runners.offline(session.runner)
    assert "1 MB" not in await _message(world)


async def test_lines_and_their_number_are_bounded(world: World) -> None:
    session = await _pulled(world)
    known = Progress(world.store, world.feed)
    known.store(session.runner, _pulling(session, "x" * 10_000))
    assert len(known.shown(await _row(world, session)).message) == progress.MAX_LENGTH
    for number in range(5000):
        known.store("r", replace(_pulling(session, "line"), session_uid=f"s{number}"))
    assert len(known._reports) == len(known._unpublished) == 4096
    known.end("r")
    assert (known._reports, known._unpublished) == ({}, {})


async def _take(events: AsyncIterator[SessionEvent], count: int) -> list[str]:
    found = []
    async with asyncio.timeout(PATIENCE):
        for _ in range(count):
            event = await anext(events)
            found.append(f"{event.type} {event.session.message if event.session else ''}".rstrip())
    return found


async def test_watchers_who_ask_hear_the_latest_line_now_and_then(world: World) -> None:
    session = await _pulled(world)
    known = Progress(world.store, world.feed, interval=0.2)
    async with (
        aclosing(world.watch.sessions(ALICE, "", 0, progress=True)) as mine,
        aclosing(world.watch.sessions(ROOT, "-", 0, progress=True)) as all_of_them,
        aclosing(world.watch.sessions(ALICE, "", 0)) as silent,
        aclosing(world.watch.sessions(BOB, "", 0, progress=True)) as foreign,
        Tasks() as tasks,
    ):
        tasks.start(known.run(), name="progress")
        for events, count in ((mine, 2), (all_of_them, 2), (silent, 2), (foreign, 1)):
            assert (await _take(events, count))[-1] == "CAUGHT_UP"
        others = [tasks.start(_take(events, 1), name="others") for events in (silent, foreign)]
        heard = [tasks.start(_take(events, 1), name="heard") for events in (mine, all_of_them)]
        await asyncio.sleep(0.1)  # all have subscribed
        for number in range(50):
            known.store(session.runner, _pulling(session, f"{number} MB"))
        assert await asyncio.gather(*heard) == [["PROGRESS 49 MB"]] * 2
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in others)
        stopped = await world.sessions.stop(ALICE, "dev1")
        assert await others[0] == ["PUT pulling x"]
        event = await anext(mine)
        assert (event.type, event.revision) == (EventType.PUT, stopped.revision)


async def test_a_session_is_not_shown_out_of_turn(world: World) -> None:
    """As it was before a change that watchers know of, or after one that they do not."""
    session = await _pulled(world)
    shown = await _row(world, session)
    async with world.feed.subscribe() as _:
        while world.feed._revision < shown.revision:
            await asyncio.sleep(0.01)
    assert world.feed.show(shown, world.feed._revision)
    assert not world.feed.show(shown, world.feed._revision - 1)
    assert not world.feed.show(replace(shown, revision=world.feed._revision + 1), world.feed._revision + 1)
