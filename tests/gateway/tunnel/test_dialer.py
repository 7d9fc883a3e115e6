"""Which way a connection comes: with overlays that are slow, silent or not there, and tunnels of the same kinds."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.domain.tunnel import SshTarget, TcpTarget
from netvps.errors import NetvpsError, Unavailable
from netvps.gateway.tunnel import dialer, overlay_stream
from netvps.gateway.tunnel.dial_stream import DialStream
from netvps.gateway.tunnel.dialer import Dialer
from netvps.gateway.tunnel.tunnels import Tunnels
from tests.gateway.conftest import UID, FakePlace, free_port
from tests.gateway.tunnel.test_overlay_stream import greeting, serving, silent
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.tunnel import DialTarget
    from netvps.gateway.ports import Stream

LONG = 3600.0


@dataclass
class FakeTunnels:
    """Answers when `answer` is set, which it is at first; each stream that it gave is kept."""

    error: NetvpsError | None = None
    asked: list[DialTarget] = field(default_factory=list)
    given: list[DialStream] = field(default_factory=list)
    cancelled: int = 0
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answer.set()

    async def open(self, _session_uid: str, target: DialTarget, _origin: str) -> DialStream:
        self.asked.append(target)
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        self.given.append(DialStream())
        return self.given[-1]

    @property
    def open_streams(self) -> int:
        return sum(not stream.is_closing() for stream in self.given)


def over(tunnels: FakeTunnels, place: FakePlace | None) -> Dialer:
    return Dialer(cast("Tunnels", tunnels), place.locate if place else None)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets that of the agents' SSH servers."""

    def set_(number: int) -> None:
        monkeypatch.setattr(dialer, "connect", functools.partial(overlay_stream.connect, port=number))

    set_(free_port())
    return set_


@pytest.fixture
def head_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(dialer, "HEAD_START", seconds)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


Port = Any
HeadStart = Any


async def test_the_overlay_is_first_and_the_tunnel_is_not_asked(port: Port, head_start: HeadStart) -> None:
    head_start(LONG)
    async with serving(greeting) as server, over(tunnels := FakeTunnels(), FakePlace()) as both:
        port(server.port)
        for _ in range(2):
            stream = await both.open(UID, SshTarget(), "test")
            assert stream.way == "overlay"
            stream.abort()
        assert tunnels.asked == []
        await server.all_gone()


async def test_an_overlay_without_anybody_is_left_at_once_and_for_a_minute(
    port: Port, head_start: HeadStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_start(LONG)
    async with over(FakeTunnels(), FakePlace()) as both:
        assert (await both.open(UID, SshTarget(), "test")).way == "tunnel"
        async with serving(greeting) as server:
            port(server.port)
            assert (await both.open(UID, SshTarget(), "test")).way == "tunnel"
            assert server.came == 0
            other = await both.open("another", SshTarget(), "test")
            assert other.way == "overlay"
            other.abort()
            now = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + dialer.AVOIDED)
            stream = await both.open(UID, SshTarget(), "test")
            assert stream.way == "overlay"
            stream.abort()


async def test_a_silent_overlay_loses_to_the_tunnel_and_is_closed(port: Port, head_start: HeadStart) -> None:
    head_start(0.05)
    async with serving(silent) as server, over(tunnels := FakeTunnels(), FakePlace()) as both:
        port(server.port)
        assert (await both.open(UID, SshTarget(), "test")).way == "tunnel"
        assert server.came == 1
        await server.all_gone()
        assert (await both.open(UID, SshTarget(), "test")).way == "tunnel"
        assert (server.came, tunnels.open_streams) == (1, 2)


async def test_a_late_overlay_wins_over_a_later_tunnel(port: Port, head_start: HeadStart) -> None:
    head_start(0.0)
    speak = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await speak.wait()
        await greeting(reader, writer)

    async with serving(late) as server, over(tunnels := FakeTunnels(), FakePlace()) as both:
        port(server.port)
        tunnels.answer.clear()
        opening = asyncio.create_task(both.open(UID, SshTarget(), "test"))
        await until(lambda: bool(tunnels.asked and server.came))
        speak.set()
        stream = await opening
        assert stream.way == "overlay"
        await until(lambda: bool(tunnels.cancelled))
        stream.abort()


async def test_a_tunnel_that_fails_first_does_not_end_the_overlays_try(port: Port, head_start: HeadStart) -> None:
    head_start(0.0)
    speak = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await speak.wait()
        await greeting(reader, writer)

    async with serving(late) as server, over(tunnels := FakeTunnels(Unavailable("cut")), FakePlace()) as both:
        port(server.port)
        opening = asyncio.create_task(both.open(UID, SshTarget(), "test"))
        await until(lambda: bool(tunnels.asked))
        await asyncio.sleep(0.01)
        speak.set()
        stream = await opening
        assert stream.way == "overlay"
        stream.abort()


@pytest.mark.usefixtures("port")
async def test_where_both_fail_the_tunnels_reason_is_reported() -> None:
    async with over(FakeTunnels(Unavailable("the agent is not connected")), FakePlace()) as both:
        with pytest.raises(Unavailable, match="the agent is not connected"):
            await both.open(UID, SshTarget(), "test")


async def test_a_tunnel_that_fails_ends_the_minute_without_the_overlay(port: Port, head_start: HeadStart) -> None:
    head_start(LONG)
    async with over(tunnels := FakeTunnels(), FakePlace()) as both:
        assert (await both.open(UID, SshTarget(), "test")).way == "tunnel"
        tunnels.error = Unavailable("cut")
        async with serving(greeting) as server:
            port(server.port)
            with pytest.raises(Unavailable, match="cut"):
                await both.open(UID, SshTarget(), "test")
            stream = await both.open(UID, SshTarget(), "test")
            assert stream.way == "overlay"
            stream.abort()


async def test_only_ssh_goes_over_the_overlay_and_only_where_it_leads_there(port: Port) -> None:
    async with serving(greeting) as server:
        port(server.port)
        for place, target in ((FakePlace(), TcpTarget("db:5432")), (FakePlace(None), SshTarget()), (None, SshTarget())):
            async with over(tunnels := FakeTunnels(), place) as both:
                assert (await both.open(UID, target, "test")).way == "tunnel"
                assert tunnels.asked == [target]
        assert server.came == 0


@pytest.mark.parametrize("pause", [0.0, 0.0005])
async def test_whoever_is_cancelled_at_whichever_moment_leaves_nothing_open(
    port: Port, head_start: HeadStart, pause: float
) -> None:
    head_start(0.002)
    async with serving(greeting) as server, over(tunnels := FakeTunnels(), FakePlace()) as both:
        port(server.port)
        for steps in range(30):
            opening = asyncio.create_task(both.open(UID, SshTarget(), "test"))
            for _ in range(steps):
                await asyncio.sleep(pause)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await opening).abort()
        await server.all_gone()
        assert tunnels.open_streams == 0


async def test_two_that_come_at_the_same_moment_are_one_and_the_other_is_closed(
    head_start: HeadStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_start(0.0)
    both_are_there = asyncio.Event()
    made: list[DialStream] = []

    async def connect(*_: object) -> Stream:
        await both_are_there.wait()
        made.append(DialStream())
        return made[-1]

    monkeypatch.setattr(dialer, "connect", connect)
    async with over(tunnels := FakeTunnels(), FakePlace()) as both:
        tunnels.answer = both_are_there
        opening = asyncio.create_task(both.open(UID, SshTarget(), "test"))
        await until(lambda: bool(tunnels.asked))
        both_are_there.set()
        stream = await opening
        await asyncio.sleep(0)
        assert stream in made
        assert (len(made), len(tunnels.given), tunnels.open_streams) == (1, 1, 0)
        assert not made[0].is_closing()


@pytest.mark.usefixtures("port")
async def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "REMEMBERED", 3)
    async with over(FakeTunnels(), FakePlace()) as both:
        for number in (0, 1, 2, 3, 1, 4):
            both._avoid(f"s{number}")
        assert list(both._avoided) == ["s3", "s1", "s4"]
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + dialer.AVOIDED + 1)
        both._avoid("s5")
        both._avoid("s6")
        assert list(both._avoided) == ["s5", "s6"]
