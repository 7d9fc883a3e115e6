"""The server on real sockets. The overlay is on loopback here:

127.66.4.1            the bridge
127.66.4.2, .3        ann's web and db
127.66.4.9            bob's web
127.66.4.50           in the subnet, not assigned
127.0.0.1             not in the subnet
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from netvps.adapters.dns.forwarder import Forwarder
from netvps.adapters.dns.listener import _refused
from netvps.adapters.dns.responder import Responder
from netvps.adapters.dns.server import DnsServer
from netvps.adapters.dns.shares import Shares
from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import ConfigError, Unavailable
from tests.adapters.dns.resolver import Behaviour, Resolver, answering, silent
from tests.adapters.dns.test_forwarder import Listed

BRIDGE, WEB, DB, BOB, UNASSIGNED = "127.66.4.1", "127.66.4.2", "127.66.4.3", "127.66.4.9", "127.66.4.50"
ENDPOINTS = (
    Endpoint("s1", "web", "ann", WEB),
    Endpoint("s2", "db", "ann", DB),
    Endpoint("s3", "web", "bob", BOB),
)


def view(*endpoints: Endpoint, subnet: str = "127.66.4.0/22") -> View:
    netmap = Netmap().updated(NetmapUpdate(1, endpoints=endpoints or ENDPOINTS))
    overlay_settings = OverlaySettings("cluster", pool="127.64.0.0/10")
    return View("r", overlay_settings, Lease(subnet, "r", 1), Underlay(("192.0.2.1",), 1450), netmap)


@asynccontextmanager
async def serving(over_udp: Behaviour = silent, over_tcp: Behaviour | None = None) -> AsyncIterator[DnsServer]:
    """With a resolver of the machine that knows the rest of the world."""
    async with Resolver(over_udp, over_tcp).running() as port:
        server = DnsServer(Forwarder(Listed("127.0.0.1"), port=port), port=0)
        try:
            await server.serve(view())
            yield server
        finally:
            await server.close()


async def ask(
    server: DnsServer, name: str, asker: str = WEB, *, tcp: bool = False, **options: int
) -> dns.message.Message:
    query = dns.message.make_query(name, "A", **options)  # type: ignore[arg-type]
    how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await how(query, BRIDGE, timeout=20, port=server.port, source=asker)


def answer_of(response: dns.message.Message) -> str:
    if response.answer:
        return str(response.answer[0][0])
    return dns.rcode.to_text(response.rcode())


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_answer_depends_on_who_asks(tcp: bool) -> None:
    async with serving() as server:
        assert answer_of(await ask(server, "db.ann.nv.internal.", tcp=tcp)) == DB
        assert answer_of(await ask(server, "WEB.nv.internal.", tcp=tcp)) == WEB
        assert answer_of(await ask(server, "web.nv.internal.", BOB, tcp=tcp)) == BOB
        assert answer_of(await ask(server, "web.bob.nv.internal.", tcp=tcp)) == "NXDOMAIN"
        assert answer_of(await ask(server, "web.bob.nv.internal.", BRIDGE, tcp=tcp)) == BOB
        assert answer_of(await ask(server, "web.bob.nv.internal.", UNASSIGNED, tcp=tcp)) == "REFUSED"


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_rest_of_the_world_is_known_to_the_machines_resolvers(tcp: bool) -> None:
    async with serving(answering("192.0.2.7")) as server:
        assert answer_of(await ask(server, "example.org.", tcp=tcp)) == "192.0.2.7"
        assert answer_of(await ask(server, "example.org.", UNASSIGNED, tcp=tcp)) == "192.0.2.7"
        # The machine has resolvers of its own. If they ask us, to ask them in turn would go round and round.
        assert answer_of(await ask(server, "example.org.", BRIDGE, tcp=tcp)) == "REFUSED"


async def test_what_is_too_long_for_udp_comes_over_tcp() -> None:
    async with serving(answering(count=200), answering(count=200)) as server:
        cut = await ask(server, "example.org.")
        assert cut.flags & dns.flags.TC
        query = dns.message.make_query("example.org.", "A")
        whole, over_tcp = await dns.asyncquery.udp_with_fallback(
            query, BRIDGE, timeout=20, port=server.port, source=WEB
        )
        assert over_tcp
        assert len(whole.answer[0]) == 200


async def test_strangers_get_no_answer_at_all() -> None:
    async with serving() as server:
        with pytest.raises((dns.exception.Timeout, OSError)):
            await dns.asyncquery.udp(
                dns.message.make_query("web.ann.nv.internal.", "A"),
                BRIDGE,
                timeout=0.3,
                port=server.port,
                source="127.0.0.1",
            )
        with pytest.raises((EOFError, OSError)):
            await ask(server, "web.ann.nv.internal.", "127.0.0.1", tcp=True)


async def test_a_session_that_moved_here_with_its_address_gets_answers_and_one_elsewhere_none() -> None:
    query = dns.message.make_query("db.nv.internal.", "A")
    async with serving() as server:
        for runner in ("other", "r"):
            moved = replace(ENDPOINTS[0], address="127.66.8.9", runner=runner)
            await server.serve(view(moved, ENDPOINTS[1]))
            asked = dns.asyncquery.udp(query, BRIDGE, timeout=1, port=server.port, source=moved.address)
            if runner == "r":
                assert answer_of(await asked) == DB
            else:
                with pytest.raises((dns.exception.Timeout, OSError)):
                    await asked


async def test_a_change_is_answered_from_then_on() -> None:
    async with serving() as server:
        moved = replace(ENDPOINTS[1], address="127.66.8.3")
        await server.serve(view(ENDPOINTS[0], moved))
        assert answer_of(await ask(server, "db.nv.internal.")) == "127.66.8.3"
        assert answer_of(await ask(server, "db.nv.internal.", BOB)) == "REFUSED"


async def test_another_subnet_is_another_address_to_listen_on() -> None:
    async with serving() as server:
        await server.serve(view(subnet="127.66.8.0/22"))
        query = dns.message.make_query("web.ann.nv.internal.", "A")
        answer = await dns.asyncquery.udp(query, "127.66.8.1", timeout=20, port=server.port, source="127.66.8.1")
        assert answer_of(answer) == WEB
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((BRIDGE, server.port), timeout=5)


async def test_many_questions_on_one_connection_and_then_none() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(BRIDGE, server.port, local_addr=(WEB, 0))
        for _ in range(50):
            wire = dns.message.make_query("db.nv.internal.", "A").to_wire()
            writer.write(struct.pack("!H", len(wire)) + wire)
        for _ in range(50):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            assert answer_of(dns.message.from_wire(await reader.readexactly(length))) == DB
        writer.write(struct.pack("!H", 3) + b"abc")  # no question: nothing more is said
        assert await reader.read() == b""
        writer.close()


async def test_who_is_silent_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.dns.listener._IDLE_SECONDS", 0.1)
    async with serving() as server:
        reader, writer = await asyncio.open_connection(BRIDGE, server.port, local_addr=(WEB, 0))
        writer.write(b"\x01")
        assert await reader.read() == b""
        writer.close()


async def test_garbage_harms_nothing() -> None:
    async with serving() as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((DB, 0))
            for _ in range(100):  # what the socket's buffer holds: more would be lost, ours too
                sender.sendto(secrets.token_bytes(secrets.randbelow(600)), (BRIDGE, server.port))
        assert answer_of(await ask(server, "db.nv.internal.")) == DB


async def test_one_that_floods_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.dns.forwarder.SECONDS", 1.0)
    async with serving(silent) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((BOB, 0))
            for n in range(100):
                sender.sendto(dns.message.make_query(f"x{n}.example.org.", "A").to_wire(), (BRIDGE, server.port))
        assert answer_of(await ask(server, "db.nv.internal.")) == DB
        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(ask(server, f"y{n}.example.org.")) for n in range(4)]
        assert {answer_of(answer.result()) for answer in slow} == {"SERVFAIL"}


async def test_a_bound_that_is_reached_is_silence() -> None:
    async with serving(silent) as server:
        assert isinstance(server._responder, Responder)
        server._responder.shares = Shares(total=0, each=0)
        with pytest.raises(dns.exception.Timeout):
            await dns.asyncquery.udp(
                dns.message.make_query("example.org.", "A"), BRIDGE, timeout=0.3, port=server.port, source=WEB
            )


async def test_a_port_that_is_taken_is_reported_with_what_to_do() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        server = DnsServer(Forwarder(Listed()), port=other.getsockname()[1])
        with pytest.raises(Unavailable, match="another name server of this machine has that port"):
            await server.serve(view())
    try:
        await server.serve(view())
        assert answer_of(await ask(server, "db.nv.internal.")) == DB
    finally:
        await server.close()
        await server.close()


def test_a_port_that_it_may_not_have() -> None:
    error = _refused(PermissionError(13, "Permission denied"), BRIDGE, 53)
    assert isinstance(error, ConfigError)
    assert "CAP_NET_BIND_SERVICE" in error.message


async def test_it_listens_before_the_address_is_there() -> None:
    """192.0.2.0/24 is nowhere: no bridge, no address."""
    server = DnsServer(Forwarder(Listed()), port=0)
    try:
        await server.serve(view(subnet="192.0.2.0/24"))
        assert server.port
    finally:
        await server.close()
