"""Real echoes between two machines: 192.0.2.1 ── 192.0.2.2."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from netvps.adapters.probe import echo as module
from netvps.adapters.probe.echo import SMALLEST, Echo
from tests.support.namespaces import Namespace, joined

pytestmark = pytest.mark.netns
HERE, THERE = "192.0.2.1", "192.0.2.2"
SOON = 5.0


@pytest.fixture
def hosts() -> Iterator[list[Namespace]]:
    with joined(2) as made:
        yield made


@pytest.fixture
async def echo(hosts: list[Namespace]) -> AsyncIterator[Echo]:
    with hosts[0].inside():
        async with Echo() as opened:
            yield opened


def refuse(host: Namespace, rule: str) -> None:
    """Drops packets that come in, by a rule of nft."""
    host.run("nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }")
    host.run("nft", f"add rule inet t c {rule} drop")


@pytest.mark.parametrize("size", [0, SMALLEST, 85, 1499, 1500])
async def test_what_comes_back_says_how_long_it_took(echo: Echo, size: int) -> None:
    rtt = await echo.echo(THERE, size, SOON)
    assert rtt is not None
    assert 0 < rtt < SOON


async def test_what_cannot_leave_or_is_lost_does_not_come_back(echo: Echo, hosts: list[Namespace]) -> None:
    assert await echo.echo(THERE, 1501, SOON) is None
    assert await echo.echo("198.51.100.1", 84, SOON) is None  # there is no route
    assert await echo.echo("2001:db8::1", 84, SOON) is None
    refuse(hosts[1], "ip length > 1300")
    assert await echo.echo(THERE, 1301, 0.1) is None
    assert await echo.echo(THERE, 1300, SOON) is not None


async def test_nothing_is_fragmented_whatever_the_kernel_believes_of_the_path(
    echo: Echo, hosts: list[Namespace]
) -> None:
    hosts[0].ip("route", "add", THERE, "dev", "eth0", "mtu", "1000")
    refuse(hosts[1], "@nh,48,16 != 0x4000")  # all but whole packets that say "do not fragment"
    assert await echo.echo(THERE, 1400, SOON) is not None


async def test_an_answer_is_what_was_sent_from_where_it_was_sent_to(echo: Echo) -> None:
    sent = bytearray(b"x" * 16)
    answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    echo._sent[bytes(sent)] = module._Sent(THERE, bytes(sent) + b"tail", answered)
    head = bytes([0x45]) + bytes(19)
    reply = bytes([0, 0, 0, 0, 0, 0, 0, 0])
    for packet, address in [
        (b"", THERE),
        (head, THERE),
        (head + reply + sent, THERE),
        (head + reply + sent + b"tale", THERE),
        (head + reply + sent + b"tail", "192.0.2.3"),
        (head + b"\x08" + reply[1:] + sent + b"tail", THERE),
    ]:
        echo._take(packet, address)
        assert not answered.done(), packet
    for _ in range(2):
        echo._take(head + reply + sent + b"tail", THERE)
    assert answered.done()


async def test_hundreds_at_once_are_distinguished(echo: Echo, hosts: list[Namespace]) -> None:
    refuse(hosts[1], "ip length > 600")
    sizes = [100, 1400] * 200
    found = await asyncio.gather(*(echo.echo(THERE, size, SOON if size == 100 else 0.2) for size in sizes))
    assert [rtt is not None for rtt in found] == [size == 100 for size in sizes]
    assert echo._sent == {}


async def test_an_answer_that_came_while_we_were_busy_counts(echo: Echo) -> None:
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(echo.echo(THERE, 84, 0.05))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 — the loop stands still, as on a machine that has too much to do
    assert asked.result() is not None


async def test_one_that_is_cancelled_leaves_nothing(echo: Echo) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await echo.echo("192.0.2.77", 84, SOON)
    assert echo._sent == {}


async def test_without_the_right_to_raw_packets_pings_do(
    hosts: list[Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    def opened(family: int, kind: int, protocol: int) -> socket.socket:
        if kind & 0xF == socket.SOCK_RAW:
            raise PermissionError
        return real(family, kind, protocol)

    monkeypatch.setattr(socket, "socket", opened)
    with hosts[0].inside():
        async with Echo() as none:
            assert not none.able
            assert await none.echo(THERE, 84, SOON) is None
        hosts[0].run("sysctl", "-qw", "net.ipv4.ping_group_range=0 0")
        async with Echo() as echo:
            assert echo.able
            assert await echo.echo(THERE, 1500, SOON) is not None
            assert await echo.echo("192.0.2.77", 84, 0.05) is None
