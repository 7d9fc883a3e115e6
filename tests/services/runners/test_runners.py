from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Credential
from netvps.domain.runner.runner import Capacity, Heartbeat, Runner, RunnerState, Underlay
from netvps.domain.session.session import DesiredState, LastExit, Session, SessionReport, SessionState, SnapshotImage
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists, NotFound, Unavailable, WrongState
from netvps.services.runners.runners import Runners
from netvps.services.sessions.progress import Progress
from tests.fakes.counting import CountingStore
from tests.fakes.world import ALICE, HELLO, ON_OVERLAY, ROOT, SETTINGS

if TYPE_CHECKING:
    from netvps.services.ports import Store
    from tests.fakes.world import World


async def test_join_tokens_are_shown_once(world: World) -> None:
    _, expires = await world.runners.create_join_token(ROOT, "r1")
    assert (expires - world.clock.now).total_seconds() == 3600
    with pytest.raises(
        AlreadyExists, match=r"request_id 'r1' made join token \w+ already, and its secret is shown only"
    ):
        await world.runners.create_join_token(ROOT, "r1")


async def test_expired_join_tokens_are_dropped_when_new_ones_are_made(world: World) -> None:
    for _ in range(3):
        await world.runners.create_join_token(ROOT)
    world.clock.advance(hours=2)
    await world.runners.create_join_token(ROOT)
    assert len(await world.rows(Credential)) == 1


async def test_a_runner_that_comes_is_online_and_hears_who_it_is(world: World) -> None:
    runner = await world.runner(online=False)
    assert (await world.runners.get(ALICE, "lab1")).runner.state is RunnerState.OFFLINE
    world.clock.advance(seconds=5)
    welcome = await world.runners.online(runner.uid, HELLO)
    assert (welcome.runner, welcome.overlay_settings.cluster_id, welcome.heartbeat_interval) == ("lab1", "cluster", 5.0)
    view = await world.runners.get(ALICE, "lab1")
    assert (view.runner.state, view.runner.version, view.runner.capacity) == (RunnerState.ONLINE, "1.0", HELLO.capacity)
    assert view.runner.last_seen == world.clock.now
    assert view.lease == welcome.lease


async def test_a_removed_runner_is_advised_to_join_again(world: World) -> None:
    for call in (world.runners.online("nobody", HELLO), world.runners.heartbeat("nobody", Heartbeat(Capacity()))):
        with pytest.raises(NotFound, match="this runner was removed: join again"):
            await call
    await world.runners.offline("nobody")


async def test_a_runner_without_sessions_gets_none_until_it_wants_some(world: World) -> None:
    runner = await world.runner(hello=replace(ON_OVERLAY, no_sessions=True))
    session = await world.session()
    assert (session.runner, "runs sessions" in session.message) == ("", True)
    await world.runners.online(runner.uid, ON_OVERLAY)
    placed = await world.row(Session, session.uid)
    assert placed
    assert placed.runner == runner.uid
    before = await world.row(Runner, runner.uid)
    with pytest.raises(WrongState, match=r"runner lab1 has 1 sessions: start it without --no-sessions, .* dev1\.alice"):
        await world.runners.online(runner.uid, replace(ON_OVERLAY, no_sessions=True))
    assert await world.row(Runner, runner.uid) == before


async def test_heartbeats_are_written_rarely(world: World) -> None:
    runner = await world.runner()
    before = await world.revision()
    for _ in range(5):
        world.clock.advance(seconds=5)
        await world.runners.heartbeat(runner.uid, Heartbeat(replace(HELLO.capacity, disk_free_bytes=95 << 30)))
    assert await world.revision() == before
    world.clock.advance(seconds=5)
    await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity))
    assert await world.revision() == before + 1
    for capacity in (replace(HELLO.capacity, cpus=4), replace(HELLO.capacity, cpus=4, disk_free_bytes=1 << 30)):
        await world.runners.heartbeat(runner.uid, Heartbeat(capacity))
        assert (await world.runners.get(ALICE, "lab1")).runner.capacity == capacity
    assert await world.revision() == before + 3


async def test_a_heartbeat_without_news_does_not_look_at_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await world.runner()
    row = await world.row(Runner, runner.uid)
    world.runners._rows = lambda _uid: row
    for method in ("read", "write"):
        monkeypatch.delattr(type(world.store), method)
    await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity))
    with pytest.raises(AttributeError):
        await world.runners.heartbeat(runner.uid, Heartbeat(Capacity(cpus=1)))


async def test_an_underlay_is_written_when_it_changes(world: World) -> None:
    joined = await world.runner(online=False)
    here, there = Underlay(("192.0.2.1",), 1450), Underlay(("192.0.2.9", "192.0.2.1"), 1450)
    await world.runners.online(joined.uid, replace(HELLO, underlay=here))
    before = await world.revision()
    for underlay in (here, there, there, None, None, here):
        await world.runners.heartbeat(joined.uid, Heartbeat(HELLO.capacity, underlay))
        assert (await world.runners.get(ALICE, "lab1")).runner.underlay == underlay
    assert await world.revision() == before + 3


async def test_sessions_of_a_silent_runner_are_unreachable_and_come_back(world: World) -> None:
    runner = await world.runner()
    running = await world.reported(await world.session("dev1"), SessionState.RUNNING, address="172.30.0.2")
    await world.session("dev2")
    await world.sessions.stop(ALICE, "dev2")
    stopped = await world.reported(await world.sessions.get(ALICE, "dev2"), SessionState.STOPPED)
    await world.runners.offline(runner.uid)
    lost = await world.sessions.get(ALICE, "dev1")
    assert (lost.state, lost.reason) == (SessionState.UNREACHABLE, "runner_lost")
    assert lost.message == "its runner lab1 is silent; the session itself most likely runs"
    assert await world.sessions.get(ALICE, "dev2") == stopped
    before = await world.revision()
    await world.runners.offline(runner.uid)
    assert await world.revision() == before
    await world.runners.online(runner.uid, HELLO)
    found = await world.reported(running, SessionState.RUNNING, address="172.30.0.2")
    assert (found.state, found.reason, found.message) == (SessionState.RUNNING, "", "")


def _runners(store: Store, world: World) -> Runners:
    return Runners(store, world.clock, world.ca, progress=Progress(store, world.feed), overlay_settings=SETTINGS)


def another_server(world: World) -> Runners:
    """Of the same database."""
    return _runners(world.store, world)


async def test_who_went_to_another_server_of_the_database_is_not_taken_for_offline(world: World) -> None:
    runner = await world.runner()
    other = another_server(world)
    world.clock.advance(seconds=1)
    await other.online(runner.uid, HELLO)
    await world.runners.offline(runner.uid)
    assert [row.state for row in await world.rows(Runner)] == [RunnerState.ONLINE]
    await other.offline(runner.uid)
    assert [row.state for row in await world.rows(Runner)] == [RunnerState.OFFLINE]


async def test_a_live_runner_that_was_marked_offline_connects_again(world: World) -> None:
    """And so tells all it has to tell again: its sessions do not stay UNREACHABLE."""
    runner = await world.runner()
    await world.runners.offline(runner.uid)
    with pytest.raises(Unavailable, match="connect again"):
        await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity))
    await world.runners.online(runner.uid, HELLO)
    await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity))


async def test_after_a_restart_only_those_who_do_not_come_back_are_offline(world: World) -> None:
    gone, back = await world.runner("gone"), await world.runner("back")
    world.runners._heard.clear()  # a new process has heard of no runner
    await world.runners.online(back.uid, HELLO)
    await world.runners.call_roll()
    await world.runners.stale()
    states = {runner.uid: runner.state for runner in await world.rows(Runner)}
    assert states == {gone.uid: RunnerState.OFFLINE, back.uid: RunnerState.ONLINE}


async def test_a_server_that_starts_marks_no_runner_offline_that_another_hears(world: World) -> None:
    here, gone = await world.runner("here"), await world.runner("gone")
    starting = another_server(world)
    await starting.call_roll()
    await world.runners.heartbeat(
        here.uid, Heartbeat(HELLO.capacity)
    )  # without the roll call it would be too soon to be written
    await starting.stale()
    rows = {runner.uid: runner for runner in await world.rows(Runner)}
    assert {uid: row.state for uid, row in rows.items()} == {
        here.uid: RunnerState.ONLINE,
        gone.uid: RunnerState.OFFLINE,
    }
    assert rows[here.uid].last_seen == world.clock.now


async def test_a_report_is_recorded_and_its_repetition_changes_nothing(world: World) -> None:
    runner = await world.runner()
    session = await world.session()
    snapshot = SnapshotImage("s", session.uid, "image", "sha256:1", 5, 1, "lab1", 1, world.clock.now)
    last_exit = LastExit(137, "oom", world.clock.now)
    report = SessionReport(
        session.uid, 1, 1, SessionState.STOPPED, "oom", "out of memory", snapshot=snapshot, last_exit=last_exit
    )
    for _ in range(2):
        await world.runners.report(runner.uid, report)
    seen = await world.sessions.get(ALICE, "dev1")
    assert (seen.state, seen.observed_generation, seen.reason) == (SessionState.STOPPED, 1, "oom")
    assert (seen.snapshot, seen.last_exit) == (snapshot, last_exit)
    assert seen.revision == await world.revision() == session.revision + 1


async def test_a_report_of_a_foreign_old_or_missing_session_is_ignored(world: World) -> None:
    await world.runner("lab1")
    session = await world.session()
    other = await world.runner("lab2")
    assert other.uid != session.runner
    report = SessionReport(session.uid, 1, 1, SessionState.RUNNING)
    before = await world.revision()
    await world.runners.report(other.uid, report)
    await world.runners.report(session.runner, replace(report, epoch=2))
    await world.runners.report(session.runner, replace(report, epoch=0))
    await world.runners.report(session.runner, replace(report, generation=2))
    await world.runners.report(session.runner, replace(report, session_uid="gone"))
    await world.runners.report(session.runner, replace(report, state=SessionState.DELETED))
    assert await world.revision() == before


async def test_a_deleted_session_goes_with_its_boot_tokens_when_its_runner_says_so(world: World) -> None:
    runner = await world.runner()
    session = await world.session()
    await world.runners.boot_token(runner.uid, session.uid, 1)
    deleted = await world.sessions.delete(ALICE, "dev1")
    early = SessionReport(session.uid, 1, session.generation, SessionState.DELETED)
    await world.runners.report(runner.uid, early)  # it answers to what was wanted before
    assert await world.row(Session, session.uid) == deleted
    await world.reported(session, SessionState.DELETED)
    assert await world.rows(Session) == []
    assert await world.rows(Credential, purpose="boot") == []


async def test_boot_tokens_are_for_the_runner_that_has_the_session(world: World) -> None:
    await world.runner("lab1")
    session = await world.session()
    other = await world.runner("lab2")
    for runner, uid, epoch in ((other.uid, session.uid, 1), (session.runner, session.uid, 2), (session.runner, "x", 1)):
        with pytest.raises(NotFound, match="on this runner: remove it"):
            await world.runners.boot_token(runner, uid, epoch)
    first = await world.runners.boot_token(session.runner, session.uid, 1)
    assert first != await world.runners.boot_token(session.runner, session.uid, 1)
    world.clock.advance(hours=2)
    await world.runners.boot_token(session.runner, session.uid, 1)
    assert len(await world.rows(Credential, purpose="boot")) == 1


async def test_runners_are_listed_by_name_with_their_sessions(world: World) -> None:
    for name in ("lab2", "lab1"):
        await world.runner(name)
    for number in range(3):
        await world.session(f"dev{number}")
    page = await world.runners.list(ALICE, page_size=1)
    assert [(view.runner.name, view.session_count) for view in page.items] == [("lab1", 2)]
    page = await world.runners.list(ALICE, page_token=page.next_page_token, page_size=1)
    assert [(view.runner.name, view.session_count) for view in page.items] == [("lab2", 1)]
    assert page.next_page_token == ""
    with pytest.raises(NotFound, match=r"^no runner lab3: see netvps runner ls$"):
        await world.runners.get(ALICE, "lab3")


@pytest.mark.parametrize("number", [2, 20])
async def test_a_page_of_runners_is_three_reads(world: World, number: int) -> None:
    for name in range(number):
        await world.runner(f"lab{name}")
    store = CountingStore(world.store)
    runners = _runners(store, world)
    assert len((await runners.list(ALICE)).items) == number
    assert store.reads == 3


async def test_reports_carry_on_after_a_new_wish(world: World) -> None:
    runner = await world.runner()
    session = await world.reported(await world.session(), SessionState.RUNNING)
    await world.sessions.stop(ALICE, "dev1")
    late = SessionReport(session.uid, 1, 1, SessionState.RUNNING, message="still here")
    await world.runners.report(runner.uid, late)
    seen = await world.sessions.get(ALICE, "dev1")
    assert (seen.state, seen.observed_generation, seen.generation) == (SessionState.RUNNING, 1, 2)
    assert seen.desired is DesiredState.STOPPED


async def test_a_runner_whose_engine_is_away_gets_no_sessions_until_it_is_back(world: World) -> None:
    runner = await world.runner()
    placed = await world.session("dev1")
    away = Heartbeat(HELLO.capacity, engine_problem="Docker does not answer", isolation_problem="no nft")
    await world.runners.heartbeat(runner.uid, away)
    shown = (await world.runners.get(ALICE, "lab1")).runner
    assert (shown.state, shown.engine_problem, shown.isolation_problem) == (
        RunnerState.ONLINE, "Docker does not answer", "no nft",
    )  # fmt: skip
    waiting = await world.sessions.get(ALICE, "dev1")
    assert waiting.message == "its runner lab1 cannot start it now: Docker does not answer; it starts when it can"
    assert waiting.epoch == placed.epoch
    waiting = await world.session("dev2")
    assert (waiting.runner, waiting.message) == (
        "", "no runner that is online can start sessions now (lab1: Docker does not answer); it starts when one can",
    )  # fmt: skip
    await world.runners.heartbeat(runner.uid, Heartbeat(HELLO.capacity))
    assert (await world.runners.get(ALICE, "lab1")).runner.engine_problem == ""
    assert (await world.sessions.get(ALICE, "dev2")).runner == runner.uid


async def test_labels_are_set_and_sessions_that_wait_for_them_are_placed(world: World) -> None:
    runner = await world.runner("lab1")
    await world.sessions.create(ALICE, session_id="dev1", owner="", spec=SessionSpec(runner_filter="labels.ssd=yes"))
    before = await world.revision()
    for _ in range(2):
        await world.runners.label(ROOT, "lab1", {"ssd": "yes"}, ("none",), request_id="r1")
    view = await world.runners.get(ALICE, "lab1")
    assert (view.runner.labels, view.session_count) == (("ssd=yes",), 1)
    assert (await world.revision()) == before + 3  # the runner, the session, the request
    await world.runners.online(runner.uid, replace(HELLO, labels=("rack=3",)))
    assert (await world.runners.get(ALICE, "lab1")).runner.labels == ("rack=3", "ssd=yes")
    page = await world.runners.list(ALICE, matching="labels.rack=3", order_by="name desc")
    assert [one.runner.name for one in page.items] == ["lab1"]


async def test_a_cordoned_runner_keeps_its_sessions_and_gets_no_others(world: World) -> None:
    await world.runner("lab1")
    await world.session("dev1")
    await world.moves.cordon(ROOT, "lab1")
    assert (await world.session("dev2")).runner == ""
    assert await world.moves.latest(ROOT, runner="lab1") == []
    await world.moves.uncordon(ROOT, "lab1")
    assert {one.runner_name for one in await world.rows(Session)} == {"lab1"}
