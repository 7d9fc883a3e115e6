"""Real TCP: on one machine, and between two with network cards that get checksums wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import pytest

from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.adapters.probe import tcp as module
from netvps.adapters.probe.echo import Echo
from netvps.adapters.probe.tcp import TcpEcho
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import TcpOutcome
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import Unavailable
from netvps.runner.overlay import links
from netvps.runner.overlay.links import Links
from netvps.tasks import Tasks
from tests.adapters.probe.bad_card import Forgets, bad_cards, everything, segments
from tests.support.namespaces import Namespace, enter, namespace
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.netns
HOME, PORT = "127.0.0.1", 14789
SETTINGS = OverlaySettings("cards")
T = TypeVar("T")


@pytest.fixture
async def echo() -> AsyncIterator[TcpEcho]:
    """In a namespace of its own; it answers whoever is at home."""
    with namespace() as host, host.inside():
        made = TcpEcho()
        await made.serve(HOME, PORT, lambda: {HOME})
        yield made
        await made.close()


async def test_all_that_is_sent_comes_back(echo: TcpEcho) -> None:
    await echo.serve(HOME, PORT, set)  # again: nothing changes
    assert await echo.exchange(HOME, PORT, 1450) is TcpOutcome.GOOD


async def test_no_listener_and_no_answer_are_not_the_same(echo: TcpEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.2)
    assert await echo.exchange(HOME, PORT + 1, 1450) is TcpOutcome.ABSENT
    assert await echo.exchange("192.0.2.9", PORT, 1450) is TcpOutcome.SILENT


async def test_it_follows_its_address_and_says_when_it_cannot(echo: TcpEcho) -> None:
    await echo.serve("127.0.0.2", PORT, lambda: {HOME})
    assert await echo.exchange(HOME, PORT, 1450) is TcpOutcome.ABSENT
    other = TcpEcho()
    with pytest.raises(Unavailable, match=r"cannot listen on 127.0.0.2:14789"):
        await other.serve("127.0.0.2", PORT, set)


async def test_a_cancel_at_any_step_leaves_no_listener(echo: TcpEcho) -> None:
    for steps in range(8):
        serving = asyncio.ensure_future(echo.serve(HOME, PORT + 1 + steps, lambda: {HOME}))
        for _ in range(steps):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait([serving])
        await echo.close()
        assert await echo.exchange(HOME, PORT + 1 + steps, 1450) is TcpOutcome.ABSENT


async def test_strangers_and_those_who_want_much_are_cut_off(echo: TcpEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    assert await echo.exchange(HOME, PORT, 1450) is TcpOutcome.BROKEN
    await echo.serve("127.0.0.2", PORT, lambda: {"192.0.2.9"})
    assert await echo.exchange("127.0.0.2", PORT, 1450) is TcpOutcome.BROKEN


async def test_few_at_once(echo: TcpEcho) -> None:
    opened = [await asyncio.open_connection(HOME, PORT) for _ in range(module._CONNECTIONS)]
    for reader, writer in opened:
        writer.write(b"x")
        await reader.readexactly(1)
    assert await echo.exchange(HOME, PORT, 1450) is TcpOutcome.BROKEN
    for _, writer in opened:
        writer.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while await echo.exchange(HOME, PORT, 1450) is not TcpOutcome.GOOD:
            await asyncio.sleep(0.01)


async def test_what_comes_back_changed_or_not_at_all_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    writers = []

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(await reader.readexactly(1))
        writer.write(bytes(reversed(await reader.readexactly(1410))))

    monkeypatch.setattr(module, "_PIECE_SECONDS", 0.5)
    server = await asyncio.start_server(lie, HOME, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        assert await TcpEcho().exchange(HOME, port, 1450) is TcpOutcome.BROKEN
        assert await TcpEcho().exchange(HOME, port, 1500) is TcpOutcome.BROKEN
    finally:
        server.close()
        for writer in writers:
            await module._cut(writer)


def peer(number: int) -> Peer:
    uid, cidr = f"runner{number}", f"10.128.{4 * number}.0/22"
    return Peer(uid, uid, Lease(cidr, uid, 1), device_mac(SETTINGS, uid), Underlay((f"192.0.2.{number}",), 1450))


class Machine(threading.Thread):
    """A runner's overlay in a namespace, without a filter; recreated whenever its health changes."""

    def __init__(self, number: int, host: Namespace) -> None:
        super().__init__()
        me = peer(number)
        netmap = Netmap().updated(NetmapUpdate(1, peers=(peer(1), peer(2))))
        self.view = View(me.runner, SETTINGS, me.lease, me.underlay, netmap)
        self.tcp = TcpEcho()
        self.offloads: list[bool] = []
        self._host = host

    def run(self) -> None:
        enter(Path(f"/run/netns/{self._host.name}"))
        asyncio.run(self._main())

    def tested(self) -> bool:
        """Whether its self-test came to an end, without offload."""
        return self.offloads[-1:] == [False] and self.links._test_due == inf

    def does(self, work: Coroutine[Any, Any, T]) -> T:
        """On its loop, in its namespace."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.join(20)

    async def _main(self) -> None:
        self._loop, self._end, news = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        async with NetlinkKernel() as kernel, Echo() as echo, Tasks() as tasks:
            self.links = Links(self.view.runner, echo, self.tcp, kernel)
            self.links.changed = news.set
            await self._program(kernel)
            tasks.start(self._follow(kernel, news), name="rounds")
            tasks.start(self.links.run(), name="links")
            await self._end.wait()
            await self.tcp.close()

    async def _follow(self, kernel: NetlinkKernel, news: asyncio.Event) -> None:
        while True:
            await news.wait()
            news.clear()
            await self._program(kernel)

    async def _program(self, kernel: NetlinkKernel) -> None:
        self.view = replace(self.view, health=self.links.health)
        assert await kernel.apply(diff(plan(self.view), await kernel.dump())) == []
        device = (await kernel.dump()).device
        assert device
        if self.offloads[-1:] != [device.checksum_offload]:
            self.offloads.append(device.checksum_offload)
        await self.links.programmed(self.view)


@pytest.mark.parametrize("forgets", [everything, segments])
def test_cards_that_get_checksums_wrong_are_found_and_not_used_for_them(
    forgets: Forgets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 1.5)
    monkeypatch.setattr(module, "_PIECE_SECONDS", 1.5)
    monkeypatch.setattr(links, "_TEST_PAUSE", 1.0)
    with bad_cards(forgets) as hosts:
        one, two = machines = [Machine(number, host) for number, host in enumerate(hosts, 1)]
        for machine in machines:
            machine.start()
        try:
            wait(lambda: all(machine.tested() for machine in machines))
            for machine, other in ((one, "10.128.8.0"), (two, "10.128.4.0")):
                assert machine.does(machine.tcp.exchange(other, SETTINGS.port, 1450)) is TcpOutcome.GOOD
                assert (machine.offloads[0], machine.links.problems) == (True, ())
        finally:
            for machine in machines:
                machine.end()


def wait(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 60
        time.sleep(0.05)
