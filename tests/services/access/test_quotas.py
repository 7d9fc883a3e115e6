"""No user gets more than their quota, whatever comes at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.access.quota import NO_LIMIT, Quota
from netvps.domain.batch import NewSession
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.waking import LoginKind
from netvps.errors import Exhausted, NetvpsError, NotFound
from netvps.services.access.quotas import Quotas
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, BOB, HELLO, ROOT, World

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

GIB = 1 << 30
WITH_DISKS = replace(HELLO, capacity=replace(HELLO.capacity, disk_limits=True))
SMALL = SessionSpec(cpus=1, memory_bytes=GIB, disk_bytes=GIB)
LIMITS = {"sessions": 3, "millicpus": 2000, "memory_bytes": 2 * GIB, "disk_bytes": 4 * GIB, "gpus": 0}


async def limit(world: World, **limits: int | None) -> None:
    await world.access.update_user(ROOT, "alice", quota=limits)


async def test_a_refusal_names_quota_use_and_remedy(world: World) -> None:
    await limit(world, sessions=2)
    await world.session("one")
    await world.session("two")
    with pytest.raises(Exhausted) as refused:
        await world.session("three")
    assert refused.value.reason == "QUOTA_EXCEEDED"
    assert refused.value.message == (
        "user alice has 2 sessions of 2 sessions in use by other sessions, and three.alice needs 1 session: remove a "
        "session, with netvps rm NAME; an admin raises the quota, with netvps user set alice --max-sessions N"
    )
    with pytest.raises(Exhausted):
        await world.sessions.plan(ALICE, session_id="three", owner="", spec=SMALL)
    await world.session("other", BOB)
    await world.sessions.delete(ALICE, "one")
    await world.session("three")


@pytest.mark.parametrize(
    ("limits", "spec", "word"),
    [
        ({"millicpus": 1500}, replace(SMALL, cpus=2), "0 CPUs of 1.5 CPUs"),
        ({"memory_bytes": GIB}, replace(SMALL, memory_bytes=2 * GIB), "of 1 GiB of memory"),
        ({"disk_bytes": GIB}, replace(SMALL, disk_bytes=2 * GIB), "of 1 GiB of disk"),
        ({"gpus": 0}, replace(SMALL, gpus=1), "0 GPUs of 0 GPUs"),
        ({"millicpus": 1500}, replace(SMALL, cpus=0), "no limit of cpus.*give it a limit, with --cpus"),
        ({"memory_bytes": GIB}, replace(SMALL, memory_bytes=0), "with --memory"),
        ({"disk_bytes": GIB}, replace(SMALL, disk_bytes=0), "with --disk"),
    ],
)
async def test_each_resource_is_limited(world: World, limits: dict[str, int], spec: SessionSpec, word: str) -> None:
    await limit(world, **limits)
    with pytest.raises(Exhausted, match=word):
        await world.session(spec=spec)
    await world.session(spec=SMALL)


async def test_a_batch_is_all_or_none(world: World) -> None:
    await limit(world, sessions=2)
    drafts = [NewSession(f"s{number}", SMALL) for number in range(3)]
    with pytest.raises(Exhausted, match="needs 1 session"):
        await world.sessions.create_all(ALICE, drafts)
    assert (await world.sessions.list(ALICE)).items == []
    assert len(await world.sessions.create_all(ALICE, drafts[:2])) == 2


async def test_a_stopped_session_leaves_its_cpus_and_memory_to_others(world: World) -> None:
    await world.runner(hello=WITH_DISKS)
    await limit(world, millicpus=1000, memory_bytes=GIB, disk_bytes=2 * GIB)
    one = await world.session("one", spec=SMALL)
    await world.reported(one, SessionState.RUNNING)
    with pytest.raises(Exhausted, match="1 CPU of 1 CPU"):
        await world.session("two", spec=SMALL)
    await world.sessions.pause(ALICE, "one")
    with pytest.raises(Exhausted):
        await world.session("two", spec=SMALL)
    await world.sessions.resume(ALICE, "one")
    stopped = await world.sessions.stop(ALICE, "one")
    await world.session("two", spec=SMALL)
    for start in (world.sessions.start(ALICE, "one"), world.sessions.start(ROOT, "one.alice")):
        with pytest.raises(Exhausted, match="netvps stop NAME"):
            await start
    await world.reported(stopped, SessionState.STOPPED)
    with pytest.raises(Exhausted, match="needs 1 CPU"):
        await world.logins.wake(stopped.uid, "alice", LoginKind.TERMINAL)
    await limit(world, millicpus=NO_LIMIT, memory_bytes=NO_LIMIT)
    with pytest.raises(Exhausted, match="of disk"):
        await world.session("three", spec=SMALL)


async def test_a_resize_is_limited_where_it_gives_more(world: World) -> None:
    await world.session("one", spec=SMALL)
    await limit(world, memory_bytes=2 * GIB, millicpus=500)
    for memory in (3 * GIB, 0):
        with pytest.raises(Exhausted, match="memory"):
            await world.sessions.update(ALICE, "one", replace(SMALL, memory_bytes=memory), ["memory_bytes"])
    await world.sessions.update(ALICE, "one", replace(SMALL, memory_bytes=2 * GIB), ["memory_bytes"])
    await world.sessions.update(ALICE, "one", replace(SMALL, cpus=0.75), ["cpus"])  # less, and still beyond the quota
    await world.sessions.rename(ALICE, "one", "two")


async def test_a_clone_counts(world: World) -> None:
    await world.runner(hello=WITH_DISKS)
    await world.reported(await world.session("one", spec=SMALL), SessionState.RUNNING)
    await limit(world, disk_bytes=GIB)
    with pytest.raises(Exhausted, match="of disk"):
        await world.clones.clone(ALICE, "one", session_id="two")


async def test_own_limits_go_before_those_of_the_role(world: World) -> None:
    quotas = Quotas({Role.USER: Quota(sessions=5, gpus=0)})
    await limit(world, sessions=NO_LIMIT, disk_bytes=GIB)
    async with world.store.read() as reader:
        users = {name: await world.access.get_user(ROOT, name) for name in ("alice", "bob", "root")}
        assert quotas.limits_of(users["alice"]) == Quota(NO_LIMIT, NO_LIMIT, NO_LIMIT, GIB, 0)
        assert quotas.limits_of(users["bob"]).sessions == 5
        assert quotas.limits_of(users["root"]) == Quota(*(NO_LIMIT,) * 5)
        assert (await quotas.use(reader, users["alice"])).use.sessions == 0
    await limit(world, sessions=None)
    assert (await world.access.get_user(ROOT, "alice")).quota == Quota(disk_bytes=GIB)


async def test_the_use_is_what_sessions_have(world: World) -> None:
    await world.session("one", spec=SMALL)
    await world.session("two", spec=SessionSpec())
    await world.sessions.stop(ALICE, "one")
    found = (await world.access.quota_use(ALICE, "me")).use
    assert (found.sessions, found.millicpus, found.memory_bytes, found.disk_bytes) == (2, 1000, GIB, GIB)
    with pytest.raises(NotFound):
        await world.access.quota_use(BOB, "alice")


async def test_of_many_at_once_as_many_come_in_as_the_quota_says(world: World) -> None:
    await limit(world, **LIMITS)
    made = await asyncio.gather(*(world.session(f"s{n}", spec=SMALL) for n in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Exhausted) for one in made) == 6
    assert len((await world.sessions.list(ALICE)).items) == 2


class Quotaed(RuleBasedStateMachine):
    """Whatever is tried, the sum of what sessions have stays within the quota."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.world = World(MemoryStore(self.clock), self.clock)
        self.do(self.world.populate())
        self.do(limit(self.world, **LIMITS))
        self.made = 0

    def do(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            asyncio.run(work)
        except NetvpsError as error:
            assert error.reason in {"QUOTA_EXCEEDED", "NOT_FOUND", "WRONG_STATE"}, error

    @rule(cpus=st.sampled_from([0, 0.5, 1, 2]), memory=st.sampled_from([0, 1, 2]), disk=st.sampled_from([0, 1, 3]))
    def create(self, cpus: float, memory: int, disk: int) -> None:
        self.made += 1
        self.do(self.world.session(f"s{self.made}", spec=_spec(cpus, memory, disk)))

    @rule(number=st.integers(1, 6), action=st.sampled_from(["start", "stop", "delete"]))
    def change(self, number: int, action: str) -> None:
        self.do(getattr(self.world.sessions, action)(ALICE, f"s{number}"))

    @rule(number=st.integers(1, 6), cpus=st.sampled_from([0, 0.5, 2]), memory=st.sampled_from([0, 1, 2]))
    def resize(self, number: int, cpus: float, memory: int) -> None:
        spec = _spec(cpus, memory, 0)
        self.do(self.world.sessions.update(ALICE, f"s{number}", spec, ["cpus", "memory_bytes"]))

    @invariant()
    def within(self) -> None:
        if not hasattr(self, "world"):
            return
        sessions = asyncio.run(self.world.sessions.list(Caller("alice", Role.USER))).items
        kept = [one for one in sessions if one.desired is not DesiredState.DELETED]
        running = [one.spec for one in kept if one.desired is DesiredState.RUNNING]
        assert len(kept) <= 3
        assert all(spec.cpus and spec.memory_bytes for spec in running)
        assert sum(spec.cpus for spec in running) <= 2
        assert sum(spec.memory_bytes for spec in running) <= 2 * GIB
        assert sum(one.spec.disk_bytes for one in kept) <= 4 * GIB


def _spec(cpus: float, memory: int, disk: int) -> SessionSpec:
    return SessionSpec(cpus=cpus, memory_bytes=memory * GIB, disk_bytes=disk * GIB)


TestQuotaed = Quotaed.TestCase
TestQuotaed.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
