"""What is asked of whom, and what comes of it; the verdicts themselves are tested in domain/overlay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.finding import Severity
from netvps.domain.overlay.path import Path, PathState
from netvps.domain.overlay.peer_health import Link, LinkState, Problem
from netvps.domain.runner.runner import Underlay
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput, NotFound, Unavailable
from netvps.services.network import network as limits
from netvps.services.network.netmap import NetmapHub
from netvps.services.network.network import Network
from tests.fakes.world import ALICE, BOB, HELLO, ROOT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.domain.runner.runner import Runner
    from tests.fakes.world import World


class Probes:
    """Runners that answer, except those (by uid) that raise, hang or leave a link out."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.down: set[frozenset[str]] = set()
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.forgetful: set[str] = set()
        self.running = 0

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        self.asked.append((runner_uid, peers))
        self.running += 1
        try:
            if runner_uid in self.away:
                raise Unavailable("the runner is not connected to this server")
            if runner_uid in self.silent:
                await asyncio.Event().wait()
            return tuple(self._link(runner_uid, peer) for peer in peers if peer not in self.forgetful)
        finally:
            self.running -= 1

    def _link(self, start: str, end: str) -> Link:
        dead = frozenset({start, end}) in self.down
        return Link(end, LinkState.DOWN) if dead else Link(end, LinkState.UP, 0.001, 1450)


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def network(world: World) -> Network:
    return Network(world.store, NetmapHub(world.store, world.feed, SETTINGS, lambda _: b""), SETTINGS, 22)


async def lab(world: World, count: int = 3) -> list[Runner]:
    """Runners box1, …: on the overlay, each at an address of its own."""
    hellos = [replace(HELLO, underlay=Underlay((f"192.0.2.{number}",), 1450)) for number in range(1, count + 1)]
    return [await world.runner(f"box{number}", hello=hello) for number, hello in enumerate(hellos, 1)]


async def links(network: Network, probes: Probes, *names: str) -> list[Path]:
    return [path async for path in network.links(names, probes)]


def ends(paths: Sequence[Path], state: PathState = PathState.UP) -> set[str]:
    return {f"{path.start[3:]}{path.end[3:]}" for path in paths if path.state is state}


async def test_the_overlay_in_numbers(world: World, network: Network) -> None:
    await lab(world, 2)
    await world.runner("bare")
    seen = await network.overview()
    assert (seen.overlay_settings, seen.prefix) == (SETTINGS, 22)
    assert (seen.subnets_used, seen.subnets_free, seen.runners_off) == (3, 4093, 3)  # no netmap is read here


async def test_all_links_those_of_one_and_those_between_several(world: World, network: Network, probes: Probes) -> None:
    box1, box2, box3 = await lab(world)
    assert ends(await links(network, probes)) == {"12", "13", "21", "23", "31", "32"}
    assert sorted(probes.asked) == sorted(
        [(box1.uid, (box2.uid, box3.uid)), (box2.uid, (box1.uid, box3.uid)), (box3.uid, (box1.uid, box2.uid))]
    )
    assert ends(await links(network, probes, "box2")) == {"12", "21", "23", "32"}
    assert ends(await links(network, probes, "box3", "box1", "box3")) == {"13", "31"}
    with pytest.raises(NotFound, match="no runner box9"):
        await links(network, probes, "box9")


async def test_who_cannot_be_asked_is_named_and_the_rest_goes_on(
    world: World, network: Network, probes: Probes
) -> None:
    _, box2, box3 = await lab(world)
    bare = replace(HELLO, problems=(Problem("needs CAP_NET_ADMIN"),))
    await world.runner("box4", hello=bare)
    await world.runners.offline(box2.uid)
    probes.away.add(box3.uid)
    paths = await links(network, probes)
    assert ends(paths) == {"12", "13"}
    reasons = {path.start: path.message for path in paths if path.end == "box1"}
    assert reasons == {
        "box2": "box2 is offline",
        "box3": "box3: the runner is not connected to this server",
        "box4": "box4 has no overlay: needs CAP_NET_ADMIN",
    }
    assert next(path.message for path in paths if path.end == "box4" and path.start == "box1") == reasons["box4"]
    probes.forgetful.add(box2.uid)
    left_out = next(path for path in await links(network, probes, "box1", "box2") if path.end == "box2")
    assert "does not know box2 yet, or is busy" in left_out.message


async def test_too_many_are_refused(
    world: World, network: Network, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_ALL", 2)
    await lab(world)
    with pytest.raises(InvalidInput, match="there are 3, and links between at most 2 are measured at once"):
        await links(network, probes)
    with pytest.raises(InvalidInput, match="65 are more than 64"):
        await links(network, probes, *["box1"] * 65)
    assert probes.asked == []
    found = await network.check(ALICE, (), probes)
    assert any("not measured: 3 runners are more than 2" in each.text for each in found)


async def test_who_stops_listening_leaves_nothing(world: World, network: Network, probes: Probes) -> None:
    box1, _, _ = await lab(world)
    probes.silent.add(box1.uid)
    paths = network.links((), probes)
    assert (await anext(paths)).start != "box1"
    assert probes.running == 1
    await paths.aclose()
    assert probes.running == 0


async def test_a_check_measures_between_the_two_runners_and_no_more(
    world: World, network: Network, probes: Probes
) -> None:
    runners = {runner.uid for runner in await lab(world)}
    sessions = [await world.session(name) for name in ("web", "db")]
    for session in sessions:
        await world.reported(session, SessionState.RUNNING)
    placed = {session.runner for session in sessions}
    assert len(placed) == 2
    found = await network.check(ALICE, ("web", "db.alice"), probes)
    assert {finding.severity for finding in found} == {Severity.OK}
    assert {uid for uid, _ in probes.asked} == placed
    probes.down.add(frozenset(placed))
    (fault, *_) = await network.check(ROOT, ("web.alice", "db.alice"), probes)
    assert (fault.severity, fault.subject.count("box")) == (Severity.FAIL, 2)
    probes.asked.clear()
    await network.check(ALICE, ("web",), probes)
    assert {uid for uid, _ in probes.asked} == runners


async def test_a_stopped_session_is_named(world: World, network: Network, probes: Probes) -> None:
    await lab(world)
    await world.reported(await world.session("web"), SessionState.STOPPED)
    fault, *_ = await network.check(ALICE, ("web",), probes)
    assert (fault.severity, fault.subject, fault.remedy) == (
        Severity.FAIL,
        "session web.alice",
        "netvps start web.alice",
    )


async def test_a_session_of_others_is_not_there(world: World, network: Network, probes: Probes) -> None:
    await lab(world)
    await world.session("web")
    with pytest.raises(NotFound, match=r"no session web\.alice"):
        await network.check(BOB, ("web.alice",), probes)
    with pytest.raises(InvalidInput, match="both are the same"):
        await network.check(ALICE, ("web", "web.alice"), probes)
    with pytest.raises(InvalidInput, match="3 are more than 2"):
        await network.check(ALICE, ("a", "b", "c"), probes)
    assert probes.asked == []
