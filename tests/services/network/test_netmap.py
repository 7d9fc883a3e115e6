"""The netmap of runners that come, go, resume and lie, against one computed from the store."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from netvps.adapters.store import open_store
from netvps.api.v1 import link_pb2
from netvps.domain.overlay.membership import endpoint_of, peer_of
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.runner.runner import Lease, Runner, Underlay
from netvps.domain.session.session import Session, SessionState
from netvps.rpc.convert.runner.link import to_runner_from_proto
from netvps.rpc.convert.runner.netmap import encoded
from netvps.services.feed import Feed
from netvps.services.network import netmap as module
from netvps.services.network.netmap import NetmapHub
from netvps.services.network.netmap_ring import Ring
from netvps.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import ALICE, HELLO, ON_OVERLAY, ROOT, SETTINGS, UNDERLAY, World
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.services.network.netmap import Follower

ELSEWHERE = Underlay(("192.0.2.99",), 1400)


def decoded(message: bytes) -> NetmapUpdate:
    update = to_runner_from_proto(link_pb2.ConnectResponse.FromString(message))
    assert isinstance(update, NetmapUpdate)
    return update


@dataclass
class Listener:
    """A runner: acts on what is whole, and on nothing else. `past` is what it knew, at each generation."""

    known: Netmap = field(default_factory=Netmap)
    updates: list[NetmapUpdate] = field(default_factory=list)
    past: dict[int, Netmap] = field(default_factory=dict)

    async def listen(self, follower: Follower) -> None:
        staged = self.known
        async for message in follower:
            update = decoded(message)
            self.updates.append(update)
            staged = staged.updated(update)
            if update.caught_up:
                self.known = self.past[update.generation] = staged


async def truth(world: World) -> Netmap:
    leases = {lease.runner: lease for lease in await world.rows(Lease)}
    peers = [peer_of(SETTINGS, runner, leases.get(runner.uid)) for runner in await world.rows(Runner)]
    endpoints = [endpoint_of(session) for session in await world.rows(Session)]
    return Netmap().updated(NetmapUpdate(1, tuple(filter(None, peers)), tuple(filter(None, endpoints))))


async def peers_at_once(world: World, count: int) -> None:
    """In one transaction."""
    async with world.store.write("test") as tx:
        for number in range(count):
            await tx.put(Lease(f"10.200.{number}.0/24", f"r{number}", 1))
            await tx.put(Runner(f"r{number}", f"x{number}", world.clock(), world.clock(), underlay=UNDERLAY))


async def same(world: World, *netmaps: Listener | NetmapHub) -> None:
    """Waits until all are as the store says."""

    def digest(of: Listener | NetmapHub) -> str:
        return of.known.digest if isinstance(of, Listener) else of.netmap.digest

    async with asyncio.timeout(PATIENCE):
        while {digest(each) for each in netmaps} - {(await truth(world)).digest}:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def hub_of(world: World, *, window: float = 0.0, part: int = 1500, ring: int = 256) -> AsyncIterator[NetmapHub]:
    made = NetmapHub(world.store, world.feed, SETTINGS, encoded, window=window, part=part, ring=lambda: Ring(ring))
    async with Tasks() as tasks:
        tasks.start(made.run(), name="netmap")
        await made.loaded()
        yield made


@asynccontextmanager
async def follows(hub: NetmapHub, listener: Listener, generation: int | None = None) -> AsyncIterator[Follower]:
    follower = hub.follow("r", listener.known.generation if generation is None else generation)
    async with Tasks() as tasks:
        tasks.start(listener.listen(follower), name="listener")
        yield follower


async def test_everybody_is_sent_the_same_bytes_made_once_for_all_changes_of_a_window(world: World) -> None:
    async with hub_of(world) as hub:
        followers = [hub.follow("r", 0) for _ in range(3)]
        empty = [await anext(follower) for follower in followers]
        assert decoded(empty[0]).reset
        assert decoded(empty[0]).caught_up
        await peers_at_once(world, 5)
        news = [await anext(follower) for follower in followers]
        assert [message is news[0] for message in news] == [True] * 3
        update = decoded(news[0])
        assert (len(update.peers), len(update.endpoints), update.reset) == (5, 0, False)
        assert update.digest == (await truth(world)).digest


async def test_who_resumes_gets_what_changed_since_also_from_a_server_that_was_restarted(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    await world.session("dev1")
    listener = Listener()
    async with hub_of(world) as hub:
        async with follows(hub, listener):
            await same(world, listener)
        await world.session("dev2")
        listener.updates.clear()
        async with follows(hub, listener):
            await same(world, listener)
        assert [(len(u.endpoints), u.reset) for u in listener.updates if u.endpoints] == [(1, False)]
    await world.session("dev3")
    async with hub_of(world) as hub, follows(hub, listener):
        await same(world, listener)
    assert not any(update.reset for update in listener.updates)


async def test_a_resume_without_changes_is_answered(world: World) -> None:
    """Else a runner would take what it kept on its disk for old until something changes."""
    await world.runner("lab1", hello=ON_OVERLAY)
    async with hub_of(world) as hub:
        known = hub.netmap
        update = decoded(await anext(hub.follow("r", known.generation)))
        assert update == NetmapUpdate(known.generation, caught_up=True, digest=known.digest)


async def test_what_a_runner_sees_of_its_sessions_is_no_news_to_others(world: World) -> None:
    runner = await world.runner("lab1", hello=ON_OVERLAY)
    session = await world.session("dev1")
    async with hub_of(world) as hub:
        before = hub.ring.generation
        await world.reported(session, SessionState.RUNNING, address="10.128.0.2")
        await world.runners.offline(runner.uid)
        await world.runners.online(runner.uid, ON_OVERLAY)
        await world.runner("lab2", hello=ON_OVERLAY)
        await same(world, hub)
        assert [delta.since for delta in hub.ring._deltas][1:] == [before]


async def test_a_new_name_of_a_session_reaches_all_at_once(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    session = await world.session("dev1")
    listener = Listener()
    async with hub_of(world) as hub, follows(hub, listener):
        await same(world, listener)
        await world.sessions.rename(ALICE, "dev1", "web")
        await same(world, listener)
    assert [(end.name, end.address) for end in listener.updates[-1].endpoints] == [("web", session.overlay_address)]


async def test_half_a_map_is_none(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    for number in range(6):
        await world.session(f"dev{number}")
    listener = Listener()
    async with hub_of(world, part=3) as hub, follows(hub, listener):
        await same(world, listener)
    assert [(u.reset, u.caught_up, len(u.peers + u.endpoints)) for u in listener.updates] == [
        (True, False, 3),
        (False, False, 3),
        (False, True, 1),
    ]


async def test_who_falls_behind_gets_the_whole_map(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    async with hub_of(world, ring=2) as hub:
        slow = hub.follow("r", 0)
        await anext(slow)
        for number in range(5):
            await world.session(f"dev{number}")
            await same(world, hub)
        assert decoded(await anext(slow)).reset


async def test_a_wrong_digest_brings_the_whole_map_once(world: World) -> None:
    await world.runner("lab1", hello=ON_OVERLAY)
    listener = Listener()
    async with hub_of(world) as hub, follows(hub, listener) as follower:
        await same(world, listener)
        follower.heard(listener.known.generation, listener.known.digest)
        follower.heard(listener.known.generation - 1, "of a forgotten time")
        follower.heard(listener.known.generation, "")
        listener.updates.clear()
        with capture_logs() as logs:
            for _ in range(3):
                follower.heard(listener.known.generation, "wrong")
                await asyncio.sleep(0.02)
        assert [(u.reset, u.caught_up) for u in listener.updates] == [(True, True)]
        assert [entry["event"] for entry in logs] == ["netmap digest mismatch: sending the full netmap"]
        await world.session("dev1")
        await same(world, listener)
        assert not listener.updates[-1].reset


async def test_where_nothing_changes_the_generation_goes_on_with_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a runner could not resume after a restart, for the log does not reach back so far."""
    monkeypatch.setattr(module, "_QUIET", 5)
    session = await world.session("dev1")
    listener = Listener()
    async with hub_of(world) as hub, follows(hub, listener):
        await same(world, listener)
        for _ in range(4):
            await world.sessions.stop(ALICE, session.name)
            await world.sessions.start(ALICE, session.name)
        async with asyncio.timeout(PATIENCE):
            while len(listener.updates) < 2:
                await asyncio.sleep(0.001)
    assert [(u.peers, u.endpoints, u.caught_up) for u in listener.updates[1:]] == [((), (), True)]
    assert listener.known.generation > listener.updates[0].generation + 4


async def test_a_hub_that_falls_behind_reads_the_store_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    world.feed = Feed(world.store, queue_length=3)
    listener = Listener()
    async with Tasks() as tasks:
        tasks.start(world.feed.run(), name="small feed")
        async with hub_of(world) as hub, follows(hub, listener):
            await world.runner("lab1", hello=ON_OVERLAY)
            await peers_at_once(world, 9)
            await same(world, listener, hub)
            assert len(listener.known.peers) == 10


async def test_a_server_hears_what_another_one_wrote(clock: FakeClock, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/both.db"
    async with open_store(url, clock) as here, open_store(url, clock) as there, Tasks() as tasks:
        writer, reader = World(there, clock), World(here, clock)
        await writer.populate()
        tasks.start(reader.feed.run(), name="feed")
        listener = Listener()
        async with hub_of(reader) as hub, follows(hub, listener):
            await writer.runner("lab1", hello=ON_OVERLAY)
            await writer.session("dev1")
            await same(writer, listener)
            assert (len(listener.known.peers), len(listener.known.endpoints)) == (1, 1)


CHANGES = ("join", "leave", "move", "silence", "create", "delete", "report")
DISTURBANCES = ("connect", "resume", "lie", "hang_up", "compact", "restart", "pause")
step = st.tuples(
    st.sampled_from((*CHANGES, "create", "create", *DISTURBANCES, "pause")), st.integers(0, 5), st.integers(0, 1)
)
steps = st.lists(step, min_size=30, max_size=60)


class History:
    """Two servers over one store, and six runners' ends of streams."""

    def __init__(self, world: World, store: MemoryStore) -> None:
        self.world, self.store = world, store
        self.listeners = [Listener() for _ in range(6)]
        self.streams: dict[int, tuple[asyncio.Task[None], Follower]] = {}
        self.hubs: dict[int, tuple[asyncio.Task[None], NetmapHub]] = {}
        self.tasks = Tasks()
        self.names = iter(range(10_000))

    async def serve(self, which: int) -> None:
        """(Re)starts a server."""
        if which in self.hubs:
            self.hubs.pop(which)[0].cancel()
        ring, part = (256, 1500) if which else (3, 2)
        hub = NetmapHub(self.store, self.world.feed, SETTINGS, encoded, window=0.0, part=part, ring=lambda: Ring(ring))
        self.hubs[which] = self.tasks.start(hub.run(), name="netmap"), hub
        for key in list(self.streams):
            self.hang_up(key)
        await hub.loaded()

    def hang_up(self, which: int) -> None:
        if which in self.streams:
            self.streams.pop(which)[0].cancel()

    async def connect(self, which: int, at: int, known: Netmap) -> None:
        self.hang_up(which)
        await asyncio.sleep(0)
        listener = self.listeners[which]
        listener.known = known
        follower = self.hubs[at][1].follow("r", known.generation)
        self.streams[which] = self.tasks.start(listener.listen(follower), name="listener"), follower

    async def change(self, step: str, which: int) -> None:
        """What happens to runners and sessions."""
        world, sessions = self.world, await self.world.rows(Session)
        runners = {runner.name: runner for runner in await world.rows(Runner)}
        runner = runners.get(f"lab{which}")
        session = sessions[which % len(sessions)] if sessions else None
        match step:
            case "join" if runner is None:
                await world.runner(f"lab{which}", hello=ON_OVERLAY if which else HELLO)
            case "leave" if runner:
                await world.runners.remove(ROOT, runner.name, force=True)
            case "move" if runner:
                underlay = (UNDERLAY, ELSEWHERE, None)[(which + next(self.names)) % 3]
                await world.runners.online(runner.uid, replace(HELLO, underlay=underlay))
            case "silence" if runner:
                await world.runners.offline(runner.uid)
            case "create":
                await world.session(f"dev{next(self.names)}")
            case "delete" if session:
                await world.sessions.delete(ALICE, session.name)
                if session.runner:
                    await world.reported(session, SessionState.DELETED)
            case "report" if session and session.runner:
                await world.reported(session, SessionState.RUNNING, address="172.30.0.2")

    async def disturb(self, step: str, which: int, at: int) -> None:
        """What happens to servers and streams."""
        match step:
            case "connect":
                await self.connect(which, at, Netmap())
            case "resume":  # from anything that any runner ever knew
                past = [netmap for listener in self.listeners for _, netmap in sorted(listener.past.items())]
                await self.connect(which, at, past[-1 - which % len(past)] if past else Netmap())
            case "lie":  # a generation of another log, as after a database was restored
                await self.connect(which, at, replace(Netmap(), generation=self.store.revision + which - 2))
            case "hang_up":
                self.hang_up(which)
            case "compact":
                self.store.horizon = max(self.store.horizon, self.store.revision - which)
            case "restart":
                await self.serve(at)
            case "pause":  # the servers hear of everything, and their runners do, in part
                await same(self.world, *(hub for _, hub in self.hubs.values()))
                for _ in range(which):
                    await asyncio.sleep(0)

    async def settle(self, *, heartbeats: bool) -> None:
        """All come back at last; with `heartbeats` they say what they know, and are repaired by that."""
        for which, listener in enumerate(self.listeners):
            if which not in self.streams:
                await self.connect(which, which % 2, listener.known)
        goal = (await truth(self.world)).digest
        async with asyncio.timeout(PATIENCE):
            while {listener.known.digest for listener in self.listeners} | {
                hub.netmap.digest for _, hub in self.hubs.values()
            } != {goal}:
                for which, (_, follower) in self.streams.items() if heartbeats else ():
                    known = self.listeners[which].known
                    follower.heard(known.generation, known.digest)
                await asyncio.sleep(0.002)


@settings(max_examples=60)
@given(steps)
async def test_whatever_happened_all_end_with_what_the_store_says(history: list[tuple[str, int, int]]) -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    world = World(store, clock)
    await world.populate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AHEAD", 0.0)
        patch.setattr(module, "_PAUSE", 0.0)
        lab = History(world, store)
        async with Tasks() as tasks, lab.tasks:
            tasks.start(world.feed.run(), name="feed")
            for which in (0, 1):
                await lab.serve(which)
            for which in range(4):
                await lab.change("join", which)
                await lab.change("create", which)
                await lab.connect(which, which % 2, Netmap())
            for step, which, at in history:
                await (lab.change(step, which) if step in CHANGES else lab.disturb(step, which, at))
            await lab.settle(heartbeats="lie" in {step for step, _, _ in history})
