from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import Health, LinkState, TcpOutcome
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Underlay
from netvps.errors import Unavailable
from netvps.runner.overlay import links as module
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.measure import SMALL
from netvps.tasks import Tasks
from tests.runner.overlay.fakes import SETTINGS, FakeKernel, FakeTcp, FakeWire, lease, peer
from tests.support.patience import PATIENCE

END = "10.128.{}.0"


class Runner:
    """Number 1, which programs whatever it gets at once."""

    def __init__(self) -> None:
        self.wire, self.tcp, self.kernel = FakeWire(), FakeTcp(), FakeKernel()
        self.links = Links("box1", self.wire, self.tcp, self.kernel)
        self.links.changed = self._note
        self.changes = 0
        self.netmap = Netmap()
        self.way = Underlay(("192.0.2.1",), 1450)
        self._news = asyncio.Event()

    def knows(self, *peers: Peer) -> None:
        self.netmap = Netmap().updated(NetmapUpdate(1, peers=(peer(1), *peers)))
        self._news.set()

    def moves(self, address: str) -> None:
        self.way = Underlay((address,), 1450)
        self._news.set()

    @asynccontextmanager
    async def running(self, *peers: Peer) -> AsyncIterator[Links]:
        self.knows(*peers)
        async with Tasks() as tasks:
            tasks.start(self._program(), name="rounds")
            tasks.start(self.links.run(), name="links")
            yield self.links

    def sent_to(self, number: int) -> list[int]:
        return [size for address, size in self.wire.sent if address == END.format(4 * number)]

    async def _program(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.links.programmed(
                View("runner1", SETTINGS, lease(1, "runner1"), self.way, self.netmap, self.links.health)
            )

    def _note(self) -> None:
        self.changes += 1
        self._news.set()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(module, "_TEST_PAUSE", 0.02)
    return Runner()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def states(links: Links) -> dict[str, LinkState | None]:
    return {uid: track.state for uid, track in links._table._tracks.items()}


async def test_links_that_come_are_examined_once_and_well_ones_let_be(runner: Runner) -> None:
    async with runner.running(peer(2), replace(peer(3), underlay=Underlay(("192.0.2.3",), 1400))) as links:
        await until(lambda: states(links) == {"runner2": LinkState.UP, "runner3": LinkState.UP})
        assert (runner.sent_to(2), runner.sent_to(3)) == ([SMALL, 1450], [SMALL, 1400])
        runner.knows(peer(2), peer(4))  # one comes, one goes
        await until(lambda: states(links) == {"runner2": LinkState.UP, "runner4": LinkState.UP})
        runner.knows(peer(2, "192.0.2.22"), peer(4))  # one is elsewhere
        await until(lambda: runner.sent_to(2) == [SMALL, 1450] * 2)
        runner.moves("192.0.2.11")  # we are
        await until(lambda: runner.sent_to(4) == [SMALL, 1450] * 2)
        assert (links.problems, links.health) == ((), Health())


async def test_what_is_wrong_is_reported_and_healed(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.domain.overlay.peer_health.FIRST_PAUSE", 0.02)
    runner.wire.largest = {END.format(8): 1200, END.format(12): 0}
    async with runner.running(peer(2), peer(3), peer(4)) as links:
        await until(lambda: len(links.problems) == 2)
        assert [problem.peer for problem in links.problems] == ["runner2", "runner3"]
        assert links.health.mtus == {"runner2": 1200}
        reported, changes = links.problems, runner.changes
        await until(lambda: len(runner.sent_to(3)) > 9)  # examined again, and nothing is new
        assert (links.problems, runner.changes) == (reported, changes)
        runner.wire.largest.clear()
        await until(lambda: not links.problems)
        assert links.health == Health()


async def test_some_are_looked_at_now_and_then_those_in_use_first(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAMPLE_SECONDS", (0.05, 0.1))
    monkeypatch.setattr(module, "_NEW_PER_SECOND", 1000.0)
    many = [peer(number) for number in range(2, 42)]
    async with runner.running(*many) as links:
        await until(lambda: len(set(states(links).values())) == 1 and LinkState.UP in states(links).values())
        runner.wire.largest[END.format(160)] = 0  # of runner 40
        runner.wire.sent.clear()
        await until(lambda: len(runner.wire.sent) >= 12)
        assert len({address for address, _ in runner.wire.sent}) < 20
        used = 0.0
        monkeypatch.setattr(module, "_SAMPLE_SECONDS", (0.05, 30.0))  # in use is what was in the last 30 s
        links._examined["runner40"] = -10.0
        runner.kernel.uses = {many[38].mac: used, "02:00:00:00:00:00": used}
        await until(lambda: states(links)["runner40"] is LinkState.DOWN)


async def test_a_kernel_that_does_not_tell_is_no_reason_to_stop(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> dict[str, float]:
        raise Unavailable("no")

    monkeypatch.setattr(module, "_SAMPLE_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(runner.kernel, "used", broken)
    async with runner.running(peer(2)):
        await until(lambda: len(runner.sent_to(2)) >= 6)


async def test_existing_ones_are_reported_to_a_caller_and_it_counts(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.domain.overlay.peer_health.BLOCKED_TIMES", 1)
    async with runner.running(peer(2), peer(3)) as links:
        await until(lambda: states(links) == {"runner2": LinkState.UP, "runner3": LinkState.UP})
        runner.wire.largest[END.format(12)] = 0
        found = await links.probe(("runner2", "runner3", "runner3", "runner1", "nobody"))
        assert [(link.peer, link.state, link.mtu) for link in found] == [
            ("runner2", LinkState.UP, 1450),
            ("runner3", LinkState.DOWN, 0),
        ]
        assert found[1].message == links.problems[0].message
        await links.withdrawn()
        assert (await links.probe(("runner2",)), links.problems, runner.tcp.served) == ((), (), [])


async def test_without_the_right_to_measure_nothing_is_said(runner: Runner) -> None:
    runner.wire.able = False
    runner.links.remember(Health({"runner2": 1300}, checksum_offload=False))
    async with runner.running(peer(2)) as links:
        await until(lambda: runner.tcp.served)
        assert (await links.probe(("runner2",)), links.problems) == ((), ())
        assert links.health == Health({"runner2": 1300}, checksum_offload=False)


async def test_a_card_that_gets_checksums_wrong_goes_without(runner: Runner) -> None:
    runner.tcp.outcomes = [TcpOutcome.BROKEN] * 2
    async with runner.running(peer(2)) as links:
        await until(lambda: not links.health.checksum_offload and links._test_due == float("inf"))
        await until(lambda: len(runner.tcp.tried) == 3)
        assert runner.tcp.tried == [(END.format(8), 14789, 1450)] * 3
        assert (links.problems, links._in_kernel.checksum_offload) == ((), False)
        runner.moves("192.0.2.11")  # by another card, maybe
        await until(lambda: links.health.checksum_offload and len(runner.tcp.tried) == 4)


async def test_tcp_that_is_broken_in_any_case_is_reported(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG_TEST_PAUSE", 0.02)
    runner.tcp.outcomes = [TcpOutcome.BROKEN] * 8
    async with runner.running(peer(2)) as links:
        await until(lambda: links.problems)
        assert (links.problems[0].peer, links.health.checksum_offload) == ("runner2", True)
        assert "TCP is interrupted" in links.problems[0].message
        await until(lambda: not links.problems)
