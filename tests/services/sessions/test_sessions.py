from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from netvps.domain.batch import NewSession, NotCreated
from netvps.domain.session.lifecycle import RESIZE_REFUSED
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.session.spec import Placement, SessionSpec
from netvps.errors import (
    AlreadyExists,
    Exhausted,
    InvalidInput,
    NotFound,
    NotPermitted,
    WrongState,
)
from netvps.services.sessions.sessions import Sessions
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, HELLO, IMAGE, ROOT

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.domain.runner.runner import RunnerHello
    from netvps.services.ports import Store
    from tests.fakes.clock import FakeClock
    from tests.fakes.world import World


async def test_a_session_waits_with_a_reason_while_no_runner_is_online(world: World) -> None:
    session = await world.session()
    assert (session.state, session.desired, session.runner) == (SessionState.PENDING, DesiredState.RUNNING, "")
    assert session.message == "no runner is online; see netvps runner ls"
    assert await world.sessions.get(ALICE, "dev1") == session


async def test_a_session_is_placed_at_once_where_a_runner_is_online(world: World) -> None:
    runner = await world.runner("lab1")
    session = await world.session()
    assert (session.runner, session.runner_name, session.epoch) == (runner.uid, "lab1", 1)
    assert session.message == "waiting for its runner lab1"


async def test_the_default_image_stands_for_none(world: World, store: Store, clock: FakeClock) -> None:
    assert (await world.session()).spec.image == IMAGE
    without = Sessions(store, clock, lambda: "0" * 13, "")
    with pytest.raises(InvalidInput, match=r"spec\.image: no image is named"):
        await without.create(ALICE, session_id="dev2", owner="", spec=SessionSpec())


async def test_only_an_admin_creates_for_others(world: World) -> None:
    with pytest.raises(NotPermitted, match="it needs role admin"):
        await world.sessions.create(ALICE, session_id="dev1", owner="bob", spec=SessionSpec())
    session = await world.sessions.create(ROOT, session_id="dev1", owner="bob", spec=SessionSpec())
    assert str(session.full_name) == "dev1.bob"
    with pytest.raises(NotFound, match=r"^no user eve: see netvps user ls$"):
        await world.sessions.create(ROOT, session_id="dev1", owner="eve", spec=SessionSpec())


async def test_validate_only_shows_the_session_and_makes_none(world: World) -> None:
    runner = await world.runner()
    before = await world.revision()
    plans = [await world.sessions.plan(ALICE, session_id="dev1", owner="", spec=SessionSpec()) for _ in range(2)]
    assert {(plan.session.runner, plan.session.state) for plan in plans} == {(runner.uid, SessionState.PENDING)}
    assert await world.rows(Session) == []
    assert await world.revision() == before


async def test_a_plan_says_why_each_runner_cannot_have_it(world: World) -> None:
    await world.runner("lab1")
    await world.runner("lab2")
    await world.moves.cordon(ROOT, "lab1")
    plan = await world.sessions.plan(ALICE, session_id="dev1", owner="", spec=SessionSpec(runner_filter="labels:ssd"))
    assert [one.runner for one in plan.verdicts] == ["lab1", "lab2"]
    assert [one.reason for one in plan.verdicts] == [
        "it is cordoned; netvps runner uncordon lab1 ends that",
        "it does not match 'labels:ssd'",
    ]
    assert plan.session.message == ("no runner that is online matches 'labels:ssd'; see netvps runner ls")
    with pytest.raises(NotPermitted):
        await world.sessions.plan(ALICE, session_id="dev1", owner="bob", spec=SessionSpec())


async def test_the_server_says_how_sessions_are_placed_that_do_not(world: World) -> None:
    for name in ("lab1", "lab2"):
        await world.runner(name)
    packing = Sessions(world.store, world.clock, world.new_uid, "debian:12", placement=Placement.PACK)
    for name, spec in (
        ("dev1", SessionSpec()),
        ("dev2", SessionSpec()),
        ("dev3", SessionSpec(placement=Placement.SPREAD)),
    ):
        await packing.create(ALICE, session_id=name, owner="", spec=spec)
    assert [one.runner_name for one in await world.rows(Session)] == ["lab1", "lab1", "lab2"]


async def test_a_repeated_create_has_one_effect_and_the_answer_of_now(world: World) -> None:
    async def create(spec: SessionSpec) -> Session:
        return await world.sessions.create(ALICE, session_id="", owner="", spec=spec, request_id="r1")

    first = await create(SessionSpec(env={"A": "1", "B": "2"}))
    assert await create(SessionSpec(env={"B": "2", "A": "1"})) == first  # the same arguments: maps have no order
    stopped = await world.sessions.stop(ALICE, first.name)
    assert await create(SessionSpec(env={"A": "1", "B": "2"})) == stopped
    with pytest.raises(AlreadyExists, match=rf"request_id 'r1' was used for session {first.full_name} with other"):
        await create(SessionSpec())
    assert len(await world.rows(Session)) == 1


async def test_a_request_id_is_its_users_own(world: World) -> None:
    for caller in (ALICE, BOB):
        session = await world.sessions.create(caller, session_id="x", owner="", spec=SessionSpec(), request_id="r1")
        assert session.owner == caller.user


@pytest.mark.parametrize("caller", [BOB, ALICE])
@pytest.mark.parametrize("verb", ["get", "stop", "start", "pause", "resume", "delete"])
async def test_what_is_not_yours_looks_like_what_is_not_there(world: World, caller: Caller, verb: str) -> None:
    await world.session("dev1", ALICE)
    name = "dev1.alice" if caller is BOB else "dev2.alice"
    with pytest.raises(NotFound) as caught:
        await getattr(world.sessions, verb)(caller, name)
    assert str(caught.value) == f"no session {name}: see netvps ls"


async def test_an_admin_sees_all_and_names_owners(world: World) -> None:
    session = await world.session("dev1", ALICE)
    assert await world.sessions.get(ROOT, "dev1.alice") == session
    with pytest.raises(NotFound, match=r"^no session dev1\.root: see netvps ls$"):
        await world.sessions.get(ROOT, "dev1")


@pytest.mark.parametrize("name", ["", ".", "dev1.", "a.b.c", "Dev", "a\x1b[31m", "x" * 41])
async def test_a_name_that_is_none_is_refused_with_its_field(world: World, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await world.sessions.get(ALICE, name)
    assert [violation.field for violation in caught.value.violations] == ["name"]
    assert "\x1b" not in str(caught.value)


async def test_lists_come_by_owner_in_pages(world: World) -> None:
    for name, caller in (("c", ALICE), ("a", ALICE), ("b", BOB), ("a", BOB), ("a-b", ALICE)):
        await world.session(name, caller)

    async def names(caller: Caller, parent: str) -> list[str]:
        found, token = [], ""
        while True:
            page = await world.sessions.list(caller, parent=parent, page_size=2, page_token=token)
            assert len(page.items) <= 2
            found += [str(session.full_name) for session in page.items]
            if not (token := page.next_page_token):
                return found

    assert await names(ALICE, "") == ["a.alice", "a-b.alice", "c.alice"]
    assert await names(ALICE, "-") == ["a.alice", "a-b.alice", "c.alice"]
    assert await names(ROOT, "") == []
    assert await names(ROOT, "bob") == ["a.bob", "b.bob"]
    assert await names(ROOT, "-") == ["a.alice", "a.bob", "a-b.alice", "b.bob", "c.alice"]
    for parent in ("bob", "nobody"):
        with pytest.raises(NotFound, match=f"^no user {parent}: see netvps user ls$"):
            await world.sessions.list(ALICE, parent=parent)


async def test_stop_and_start_move_what_is_wanted_once(world: World) -> None:
    await world.runner()
    session = await world.reported(await world.session(), SessionState.RUNNING)
    stopped = await world.sessions.stop(ALICE, "dev1")
    assert (stopped.desired, stopped.generation, stopped.state) == (DesiredState.STOPPED, 2, SessionState.RUNNING)
    assert await world.sessions.stop(ALICE, "dev1") == stopped
    started = await world.sessions.start(ALICE, "dev1")
    assert (started.desired, started.generation, started.epoch) == (DesiredState.RUNNING, 3, session.epoch)


async def test_delete_of_what_no_runner_has_removes_the_row(world: World) -> None:
    session = await world.session()
    gone = await world.sessions.delete(ALICE, "dev1", request_id="r1")
    assert (gone.uid, gone.state) == (session.uid, SessionState.DELETED)
    assert await world.rows(Session) == []
    assert (await world.sessions.delete(ALICE, "dev1", request_id="r1")).state is SessionState.DELETED
    with pytest.raises(NotFound):
        await world.sessions.delete(ALICE, "dev1")


async def test_delete_on_a_silent_runner_is_kept_for_its_return(world: World) -> None:
    runner = await world.runner()
    session = await world.reported(await world.session(), SessionState.RUNNING)
    await world.runners.offline(runner.uid)
    deleted = await world.sessions.delete(ALICE, "dev1")
    assert (deleted.desired, deleted.state) == (DesiredState.DELETED, SessionState.UNREACHABLE)
    assert deleted.message == "its runner lab1 is offline: it will be removed when that returns"
    await world.reported(session, SessionState.DELETED)
    assert await world.rows(Session) == []


async def test_what_is_being_deleted_cannot_start(world: World) -> None:
    await world.runner()
    await world.session()
    await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(WrongState, match=r"session dev1\.alice is being deleted"):
        await world.sessions.start(ALICE, "dev1")


async def test_a_spec_larger_than_every_machine_says_so(world: World) -> None:
    await world.runner()
    session = await world.session(spec=SessionSpec(cpus=9, memory_bytes=32 << 30, authorized_keys=(ed25519(1),)))
    assert session.runner == ""
    assert session.message == (
        "no runner that is online has 9 CPUs and 32 GiB of memory; see netvps runner ls, or ask for less"
    )


async def _running(world: World, spec: SessionSpec | None = None, *, hello: RunnerHello = HELLO) -> Session:
    await world.runner(hello=hello)
    return await world.reported(await world.session(spec=spec), SessionState.RUNNING)


async def test_a_pause_and_a_resume_name_who_asked(world: World) -> None:
    await _running(world)
    pausing = await world.sessions.pause(ALICE, "dev1", request_id="r1")
    assert (pausing.desired, pausing.desired_by) == (DesiredState.PAUSED, Author("alice", ChangeCause.PERSON))
    assert await world.sessions.pause(ALICE, "dev1", request_id="r1") == pausing
    await world.reported(pausing, SessionState.PAUSED)
    resumed = await world.sessions.resume(ROOT, "dev1.alice")
    assert (resumed.desired, resumed.desired_by) == (DesiredState.RUNNING, Author("root", ChangeCause.PERSON))
    assert await world.sessions.resume(ALICE, "dev1") == resumed


async def test_only_a_running_session_on_a_current_runner_is_paused(world: World) -> None:
    old = replace(HELLO, version="0.1.0", capabilities=())
    session = await _running(world, hello=old)
    with pytest.raises(WrongState, match=r"^runner lab1 runs netvps 0\.1\.0, which cannot pause sessions: update it$"):
        await world.sessions.pause(ALICE, "dev1")
    stopped = await world.reported(await world.sessions.stop(ALICE, "dev1"), SessionState.STOPPED)
    for verb in (world.sessions.pause, world.sessions.resume):
        with pytest.raises(WrongState, match=r"is STOPPED, .*: start it with: netvps start dev1\.alice$"):
            await verb(ALICE, "dev1")
    assert await world.row(Session, session.uid) == stopped


async def test_a_pause_on_a_silent_runner_says_that_it_waits(world: World) -> None:
    session = await _running(world)
    await world.runners.offline(session.runner)
    pausing = await world.sessions.pause(ALICE, "dev1")
    assert pausing.message == "its runner lab1 is offline: it will be paused when that returns"


async def test_a_paused_session_counts_as_load(world: World) -> None:
    first = await _running(world, SessionSpec(memory_bytes=1 << 30))
    other = await world.runner("lab2")
    await world.reported(await world.sessions.pause(ALICE, "dev1"), SessionState.PAUSED)
    assert (await world.session("dev2")).runner == other.uid != first.runner


async def test_a_new_name_is_the_only_one_at_once(world: World) -> None:
    session = await _running(world)
    renamed = await world.sessions.rename(ALICE, "dev1", "web", request_id="r1")
    assert (renamed.name, renamed.uid, renamed.state, renamed.generation) == (
        "web", session.uid, SessionState.RUNNING, session.generation,
    )  # fmt: skip
    assert await world.sessions.rename(ALICE, "dev1", "web", request_id="r1") == renamed
    with pytest.raises(NotFound, match=r"^no session dev1\.alice"):
        await world.sessions.get(ALICE, "dev1")
    assert (await world.session("dev1")).uid != session.uid
    with pytest.raises(AlreadyExists, match=r"^session dev1 exists already: choose another name"):
        await world.sessions.rename(ALICE, "web", "dev1")
    assert await world.sessions.rename(ALICE, "web", "web") == renamed


async def test_limits_change_where_they_fit_the_machine(world: World) -> None:
    session = await _running(world, SessionSpec(cpus=1.0, labels={"a": "1"}))
    larger = await world.sessions.update(ALICE, "dev1", SessionSpec(cpus=4.0, pids=64), {"cpus"}, request_id="r1")
    assert (larger.spec, larger.generation) == (replace(session.spec, cpus=4.0), session.generation + 1)
    assert await world.sessions.update(ALICE, "dev1", SessionSpec(cpus=4.0), ["cpus"], request_id="r1") == larger
    with pytest.raises(Exhausted, match=r"keeps its limits: 9 CPUs are more than the 8 of its runner lab1$"):
        await world.sessions.update(ALICE, "dev1", SessionSpec(cpus=9.0), {"cpus"})
    with pytest.raises(Exhausted, match=r"keeps its limits: 32 GiB of memory are more than the 16 GiB of its runner"):
        await world.sessions.update(ALICE, "dev1", SessionSpec(memory_bytes=32 << 30), {"memory_bytes"})
    refused = await world.reported(larger, SessionState.RUNNING, RESIZE_REFUSED)
    assert refused.spec == session.spec
    await world.runners.offline(session.runner)
    later = await world.sessions.update(ALICE, "dev1", SessionSpec(cpus=2.0), {"cpus"})
    assert later.message == "its runner lab1 is offline: its limits change later"


async def test_a_waiting_session_is_placed_when_it_asks_for_less(world: World) -> None:
    await world.runner()
    waiting = await world.session(spec=SessionSpec(cpus=100.0))
    assert waiting.runner == ""
    assert (await world.sessions.update(ALICE, "dev1", SessionSpec(cpus=1.0), {"cpus"})).runner_name == "lab1"


@pytest.mark.parametrize("caller", [ALICE, ROOT])
async def test_a_protected_session_is_deleted_by_no_one(world: World, caller: Caller) -> None:
    session = await _running(world)
    await world.sessions.update(ALICE, "dev1", SessionSpec(delete_protection=True), {"delete_protection"})
    words = r"^session dev1\.alice is protected from deletion: lift that with: netvps set dev1\.alice --no-protect$"
    with pytest.raises(WrongState, match=words):
        await world.sessions.delete(caller, "dev1.alice")
    with pytest.raises(WrongState, match=r"session dev1\.alice on runner lab1 is protected from deletion"):
        await world.runners.remove(ROOT, "lab1", force=True)
    assert await world.rows(Session) != []
    lifted = await world.sessions.update(ALICE, "dev1", SessionSpec(), {"delete_protection"})
    assert lifted.spec == session.spec
    assert (await world.sessions.delete(caller, "dev1.alice")).desired is DesiredState.DELETED


def drafts(*names: str, **spec: Any) -> list[NewSession]:
    return [NewSession(name, SessionSpec(**spec)) for name in names]


async def test_a_batch_is_all_or_nothing_and_once_per_request_id(world: World) -> None:
    await world.runner("lab1")
    await world.session("dev2")
    with pytest.raises(AlreadyExists, match=r"^requests\[1\]: session dev2"):
        await world.sessions.create_all(ALICE, drafts("dev1", "dev2", "dev3"), "r1")
    with pytest.raises(NotPermitted, match=r"^requests\[0\]: "):
        await world.sessions.create_all(ALICE, [NewSession("dev9", SessionSpec(), "bob")])
    assert [one.name for one in await world.rows(Session)] == ["dev2"]
    made = await world.sessions.create_all(ALICE, drafts("dev1", "", "dev3"), "r2")
    assert [one.runner_name for one in made] == ["lab1"] * 3
    revision = await world.revision()
    assert await world.sessions.create_all(ALICE, drafts("dev1", "", "dev3"), "r2") == made
    assert await world.revision() == revision
    with pytest.raises(AlreadyExists, match="with other arguments"):
        await world.sessions.create_all(ALICE, drafts("dev7"), "r2")


async def test_of_a_batch_those_are_made_that_can_be(world: World) -> None:
    await world.session("dev2")
    for _ in range(2):
        first, second, third = await world.sessions.create_each(ALICE, drafts("dev1", "dev2", "dev3"), "r1")
        assert isinstance(first, Session)
        assert isinstance(second, NotCreated)
        assert second.reason == "ALREADY_EXISTS"
        assert isinstance(third, Session)
    assert len(await world.rows(Session)) == 3


async def test_sessions_of_a_batch_are_spread(world: World) -> None:
    for name in ("lab1", "lab2"):
        await world.runner(name)
    made = await world.sessions.create_all(ALICE, drafts("dev1", "dev2", "dev3", "dev4", cpus=1))
    assert [one.runner_name for one in made] == ["lab1", "lab2"] * 2
