"""The way to the machine's resolvers: which is asked, what is believed, and what is said when none helps."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection

import dns.flags
import dns.message
import dns.rcode
import pytest

from netvps.adapters.dns.exchange import ask as ask_one
from netvps.adapters.dns.forwarder import SECONDS, Forwarder
from netvps.adapters.dns.wire import Query, read
from tests.adapters.dns.resolver import Resolver, answering, cut_short, reply, silent
from tests.support.patience import PATIENCE


class Listed:
    """Resolvers that a test lists."""

    def __init__(self, *servers: str) -> None:
        self._servers = servers

    async def servers(self, *, without: Collection[str]) -> tuple[str, ...]:
        return tuple(server for server in self._servers if server not in without)


def question(*, stream: bool = False) -> Query:
    query = read(dns.message.make_query("example.org.", "A").to_wire(), stream=stream)
    assert isinstance(query, Query)
    return query


async def ask(port: int, *servers: str, query: Query | None = None) -> dns.message.Message:
    query = query or question()
    wire = await Forwarder(Listed(*servers), port=port).ask(query, without={"127.0.0.9"})
    response = dns.message.from_wire(wire)
    assert query.message.is_response(response)
    return response


async def test_the_answer_of_a_resolver_is_passed_on() -> None:
    resolver = Resolver(answering("192.0.2.7"))
    async with resolver.running() as port:
        query = question()
        response = await ask(port, "127.0.0.1", query=query)
        assert [str(rrset) for rrset in response.answer] == ["example.org. 60 IN A 192.0.2.7"]
        await ask(port, "127.0.0.1", query=query)
    ids = {asked.id for asked in resolver.asked}
    assert query.message.id not in ids or len(ids) == 2
    assert len(set(resolver.ports)) == 2


async def test_a_server_that_is_not_there_is_an_error_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await ask_one("127.0.0.1", port, question().wire)


async def test_forged_answers_are_passed_over() -> None:
    def forged_first(query: dns.message.Message) -> list[bytes]:
        good = reply(query, "192.0.2.7").to_wire()
        forged = reply(query, "203.0.113.1").to_wire()
        other_id = bytes((forged[0] ^ 1,)) + forged[1:]
        other_name = forged.replace(b"example", b"examp1e")
        return [b"", b"junk", other_id, other_name, query.to_wire(), good]

    async with Resolver(forged_first).running() as port:
        response = await ask(port, "127.0.0.1")
    assert "192.0.2.7" in str(response.answer[0])


async def test_a_long_answer_is_fetched_over_tcp_and_cut_for_who_asked_over_udp() -> None:
    resolver = Resolver(cut_short, answering(count=200))
    async with resolver.running() as port:
        long = await ask(port, "127.0.0.1", query=question(stream=True))
        assert len(long.answer[0]) == 200
        cut = await ask(port, "127.0.0.1")
        assert cut.flags & dns.flags.TC
        assert not cut.answer
    assert resolver.tcp_asked == 2


async def test_a_resolver_without_tcp_is_believed_as_far_as_it_goes() -> None:
    async with Resolver(cut_short).running() as port:
        assert (await ask(port, "127.0.0.1")).flags & dns.flags.TC


async def test_the_next_is_asked_when_one_is_away_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.dns.forwarder.SECONDS", 2.0)
    failing, mute = Resolver(answering(rcode=dns.rcode.SERVFAIL)), Resolver(silent)
    async with Resolver(answering("192.0.2.7")).running("127.0.0.3") as port:
        assert (await ask(port, "127.0.0.2", "127.0.0.3")).answer  # nothing listens there: known at once
        async with failing.running("127.0.0.4", port), mute.running("127.0.0.5", port):
            assert (await ask(port, "127.0.0.4", "127.0.0.5", "127.0.0.3")).answer
            assert len(failing.asked) == len(mute.asked) == 1
            assert (await ask(port, "127.0.0.4")).rcode() == dns.rcode.SERVFAIL


async def test_the_one_that_answered_last_is_asked_first() -> None:
    failing = Resolver(answering(rcode=dns.rcode.REFUSED))
    async with Resolver(answering()).running("127.0.0.3") as port, failing.running("127.0.0.4", port):
        forwarder = Forwarder(Listed("127.0.0.4", "127.0.0.3"), port=port)
        for _ in range(3):
            await forwarder.ask(question(), without=())
    assert len(failing.asked) == 1


async def test_that_a_name_is_not_there_is_an_answer() -> None:
    missing = Resolver(answering(rcode=dns.rcode.NXDOMAIN))
    async with Resolver(answering()).running("127.0.0.3") as port, missing.running("127.0.0.4", port):
        assert (await ask(port, "127.0.0.4", "127.0.0.3")).rcode() == dns.rcode.NXDOMAIN


async def test_a_caller_learns_in_time_that_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECONDS < 5
    monkeypatch.setattr("netvps.adapters.dns.forwarder.SECONDS", 1.2)
    mute = Resolver(silent)
    async with mute.running() as port:
        began = time.monotonic()
        assert (await ask(port, "127.0.0.1")).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - began > 0.3
        assert len(mute.asked) == 2
        assert (await ask(port)).rcode() == dns.rcode.SERVFAIL  # none is named
        assert (await ask(port, "127.0.0.9")).rcode() == dns.rcode.SERVFAIL  # that is ourselves


async def test_a_resolver_whose_tcp_hangs_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.dns.forwarder.SECONDS", 0.4)
    async with Resolver(cut_short).running() as port:
        with socket.create_server(("127.0.0.1", port)):
            async with asyncio.timeout(PATIENCE):
                assert (await ask(port, "127.0.0.1")).rcode() == dns.rcode.SERVFAIL
