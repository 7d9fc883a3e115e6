"""Loading, checking and repairing in real namespaces (see lab.py), under connections that are open all the while."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
import structlog

from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.rules.nft import Chain, Ruleset, Set, Table, mark
from netvps.adapters.filter.rules.overlay import ruleset
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import ConfigError, TimedOut, Unavailable
from tests.adapters.filter.site.lab import PORTS, RUNNERS, SESSIONS, Lab, netmap, peer, view
from tests.adapters.filter.site.own import Own
from tests.adapters.filter.site.traffic import connected
from tests.support.pings import pinging

pytestmark = pytest.mark.netns
RULES = ruleset(view("one"), PORTS)
TABLES = tuple(RULES.tables)


@pytest.fixture
async def nft(hosts: Lab) -> AsyncIterator[Nftables]:
    """That of runner "one", with its rules loaded."""
    made = Nftables((*hosts.enter("one"), "nft"))
    await made.load(RULES)
    yield made
    await made.remove(TABLES)


def _listed(hosts: Lab) -> str:
    return hosts.run("one", "nft", "list", "ruleset")


async def test_what_is_loaded_is_seen_and_loading_it_again_does_nothing(hosts: Lab, nft: Nftables) -> None:
    assert await nft.loaded()
    handles = hosts.run("one", "nft", "-a", "list", "ruleset")
    await nft.load(RULES)
    assert hosts.run("one", "nft", "-a", "list", "ruleset") == handles


async def test_a_change_leads_to_what_loading_all_of_it_would(hosts: Lab, nft: Nftables) -> None:
    others = [
        NetmapUpdate(2, endpoints=(Endpoint("new", "new", "dan", "10.128.0.9"),)),
        NetmapUpdate(2, gone_endpoints=("uid-ann2", "uid-bob1"), gone_peers=("two",)),
        NetmapUpdate(2, endpoints=(Endpoint("uid-ann1", "ann1", "bob", "10.128.0.2"),)),
    ]
    for update in others:
        rules = ruleset(view("one", netmap().updated(update)), PORTS)
        await nft.load(rules)
        assert await nft.loaded()
        changed = _listed(hosts)
        await Nftables((*hosts.enter("one"), "nft")).load(rules)
        assert _sorted(changed) == _sorted(_listed(hosts))
        await nft.load(RULES)


async def test_a_load_over_something_else_leaves_nothing_of_that(hosts: Lab, nft: Nftables) -> None:
    """As after a restart: an owner and a runner are gone, an address is another's."""
    gone = NetmapUpdate(2, gone_endpoints=("uid-bob1", "uid-bob2"), gone_peers=("two",))
    moved = NetmapUpdate(2, endpoints=(Endpoint("uid-ann1", "ann1", "bob", "10.128.0.2"),))
    for update in (gone, moved):
        await nft.load(RULES)
        rules = ruleset(view("one", netmap().updated(update)), PORTS)
        await Nftables((*hosts.enter("one"), "nft")).load(rules)
        over = _listed(hosts)
        await nft.remove(TABLES)
        await nft.load(rules)
        assert _sorted(over) == _sorted(_listed(hosts))


@pytest.mark.usefixtures("nft")
async def test_what_is_added_takes_nothing_away(hosts: Lab) -> None:
    """As after a restart with a netmap of some time ago, when there were fewer of all."""
    before = _sorted(_listed(hosts))
    gone = ("uid-ann1", "uid-bob1", "uid-bob2")
    older = ruleset(view("one", netmap().updated(NetmapUpdate(2, gone_endpoints=gone, gone_peers=("two",)))))
    restarted = Nftables((*hosts.enter("one"), "nft"))
    for damage in ("flush chain inet netvps forward", "delete table bridge netvps; delete table inet netvps"):
        await restarted.add(older)
        assert not await restarted.loaded()  # who knows
        assert set(before) <= set(_sorted(_listed(hosts)))
        hosts.run("one", "nft", damage)
        await restarted.add(older)
        rules = [line for line in _listed(hosts).splitlines() if "comment" in line]
        assert {line.rpartition(" ")[2].strip('"') for line in rules} >= _marks(older)
    assert "owner-bob" not in _listed(hosts)


@pytest.mark.usefixtures("nft")
async def test_what_cannot_be_added_stays_unchanged(hosts: Lab) -> None:
    before = _listed(hosts)
    moved = NetmapUpdate(2, endpoints=(Endpoint("uid-ann1", "ann1", "bob", "10.128.0.2"),))
    with structlog.testing.capture_logs() as logs:
        await Nftables((*hosts.enter("one"), "nft")).add(ruleset(view("one", netmap().updated(moved)), PORTS))
    assert [entry["event"] for entry in logs] == ["packet filter kept as found until the netmap is known"]
    assert _listed(hosts) == before
    hosts.run("one", "nft", "delete table bridge netvps")
    await Nftables((*hosts.enter("one"), "nft")).add(ruleset(view("one", netmap().updated(moved)), PORTS))
    assert "10.128.0.2 : jump owner-bob" in _listed(hosts)


def _marks(rules: Ruleset) -> set[str]:
    return {mark(rule) for table in rules.tables.values() for chain in table.chains.values() for rule in chain.rules}


def _sorted(listed: str) -> list[str]:
    return sorted(listed.replace(",", " ").split())


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table inet netvps",
        "flush table inet netvps",
        "flush chain bridge netvps forward",
        "flush set inet netvps owner-ann",
        "delete element bridge netvps owners { 10.128.0.2 }",
        "insert rule inet netvps forward accept",
        "add chain inet netvps strange; add rule inet netvps strange drop",
        "add set inet netvps strange { type ipv4_addr; }; add element inet netvps strange { 192.0.2.1 }",
        "flush table bridge netvps; delete set bridge netvps bound; add set bridge netvps bound { type ipv4_addr; }",
        "flush chain inet netvps forward; add rule inet netvps forward accept",
        "delete element inet netvps runners { 10.128.4.0 }; add element inet netvps runners { 10.128.4.7 }",
    ],
)
async def test_what_others_did_is_found_and_repaired(hosts: Lab, nft: Nftables, damage: str) -> None:
    before = _listed(hosts)
    hosts.run("one", "nft", damage)
    assert not await nft.loaded()
    await nft.load(RULES)
    assert _sorted(_listed(hosts)) == _sorted(before)
    assert await nft.loaded()


async def test_a_rule_that_was_replaced_in_place_is_seen(hosts: Lab, nft: Nftables) -> None:
    rules = hosts.run("one", "nft", "-a", "list", "chain", "inet", "netvps", "forward").splitlines()
    drop = next(line for line in rules if "drop comment " in line).rpartition(" ")[2]
    hosts.run("one", "nft", f"replace rule inet netvps forward handle {drop} accept")
    assert not await nft.loaded()
    await nft.load(RULES)
    assert await nft.loaded()


async def test_it_looks_only_where_something_changed(hosts: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def there() -> int | None:
        with hosts.inside("one"):
            return generation()

    made = Nftables((*hosts.enter("one"), "nft"), there)
    looks = 0
    content = made._content

    async def counted(table: str) -> object:
        nonlocal looks
        looks += 1
        return await content(table)

    monkeypatch.setattr(made, "_content", counted)
    other = ruleset(view("one", netmap().updated(NetmapUpdate(2, gone_endpoints=("uid-ann2",)))), PORTS)
    await made.load(RULES)
    for rules in (RULES, other, RULES):
        await made.load(rules)
        assert await made.loaded()
    assert looks == len(TABLES)  # the first time
    hosts.run("one", "nft", "add table inet others; delete table inet others")
    assert await made.loaded()
    assert await made.loaded()
    assert looks == 2 * len(TABLES)
    hosts.run("one", "nft", "flush chain inet netvps forward")
    await made.load(other)  # a change that others' do not stop, and do not hide behind
    assert not await made.loaded()
    await made.remove(TABLES)


LATER = [
    NetmapUpdate(2, endpoints=(Endpoint("new", "new", "bob", "10.128.0.9"),)),
    NetmapUpdate(2, gone_endpoints=("uid-ann2", "uid-ann3"), gone_peers=("two",)),
    NetmapUpdate(2, endpoints=(Endpoint("uid-ann1", "ann1", "bob", "10.128.0.2"),)),
    NetmapUpdate(2, peers=(replace(peer("two"), underlay=Underlay(("192.0.2.77", "2001:db8::77"), 1450)),)),
    NetmapUpdate(2, peers=(replace(peer("two"), lease=Lease("10.128.4.0/23", "two", 2)),)),
]
IDS = ["a session comes", "a runner goes", "an address goes over", "one moves", "a subnet is of another size"]


@pytest.mark.parametrize("update", LATER, ids=IDS)
async def test_elements_change_without_nft_and_as_by_it(
    hosts: Lab, monkeypatch: pytest.MonkeyPatch, update: NetmapUpdate
) -> None:
    rules = ruleset(view("one", netmap().updated(update)), PORTS)
    with closing(Own(hosts, "one")) as own:
        made = Nftables((*hosts.enter("one"), "nft"), own.generation, own.change)
        await made.load(RULES)
        with monkeypatch.context() as patch:
            patch.setattr(made, "_feed", None)  # it is not asked for
            for wanted in (rules, RULES, rules):
                await made.load(wanted)
                assert await made.loaded()
        assert own.refused == [None] * 3
    ours = _listed(hosts)
    await Nftables((*hosts.enter("one"), "nft")).load(rules)
    assert _sorted(ours) == _sorted(_listed(hosts))
    await made.remove(TABLES)


async def test_where_others_changed_something_elements_change_by_nft_until_that_was_looked_at(hosts: Lab) -> None:
    more, fewer = (ruleset(view("one", netmap().updated(update)), PORTS) for update in LATER[:2])
    with closing(Own(hosts, "one")) as own:
        made = Nftables((*hosts.enter("one"), "nft"), own.generation, own.change)
        await made.load(RULES)
        hosts.run("one", "nft", "add table inet others; delete table inet others")
        for rules in (more, fewer, RULES):
            await made.load(rules)
        assert [refused and refused.errno for refused in own.refused] == [errno.ERESTART]
        assert await made.loaded()
        await made.load(fewer)
        assert own.refused[1:] == [None]
        hosts.run("one", "nft", "flush set inet netvps senders")
        assert not await made.loaded()
        await made.load(RULES)
        assert await made.loaded()
    await made.remove(TABLES)


async def test_a_change_of_what_is_gone_becomes_a_load_of_everything(hosts: Lab, nft: Nftables) -> None:
    hosts.run("one", "nft", "flush", "ruleset")
    rules = ruleset(view("one", netmap().updated(NetmapUpdate(2, gone_endpoints=("uid-ann2",)))), PORTS)
    await nft.load(rules)
    assert await nft.loaded()


async def test_rules_that_are_refused_leave_those_before_in_place(hosts: Lab, nft: Nftables) -> None:
    before = _listed(hosts)
    broken = Ruleset({**RULES.tables, "inet netvps": Table({}, {"c": Chain(("no such thing",))})})
    with pytest.raises(Unavailable, match="cannot load the packet filter: /dev/stdin"):
        await nft.load(broken)
    assert _listed(hosts) == before
    assert await nft.refusal(broken)
    assert not await nft.refusal(RULES)


async def test_others_tables_are_left_alone(hosts: Lab, nft: Nftables) -> None:
    hosts.run("one", "nft", "add table inet others")
    await nft.remove(TABLES)
    await nft.remove(TABLES)
    assert _listed(hosts) == "table inet others {\n}\n"
    hosts.run("one", "nft", "delete table inet others")


async def test_where_no_nft_is_it_says_so() -> None:
    with pytest.raises(ConfigError, match=r"cannot run no-nft: .* is it installed"):
        await Nftables(("no-nft",)).load(RULES)


async def test_an_nft_that_was_cancelled_may_have_done_it_or_not(
    nft: Nftables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken for granted afterwards."""

    async def never(*_: str, **__: object) -> None:
        raise TimedOut("nft did not end in 30 s")

    empty = ruleset(view("one", netmap().updated(NetmapUpdate(2, reset=True))))
    with monkeypatch.context() as patch:
        patch.setattr("netvps.adapters.filter.nftables.run", never)
        with pytest.raises(TimedOut):
            await nft.load(empty)
    assert not await nft.loaded()
    await nft.load(RULES)
    assert await nft.loaded()


SENT = random.Random(4).randbytes(1 << 20)


async def test_no_packet_is_lost_by_a_load_of_everything(hosts: Lab) -> None:
    """As after each start, and whatever is missing."""
    rules = {runner: ruleset(view(runner), PORTS) for runner in ("one", "two")}
    for runner, wanted in rules.items():
        await Nftables((*hosts.enter(runner), "nft")).load(wanted)
    with pinging(hosts.enter("ann1"), SESSIONS["ann3"][1], every=0.0002):
        for _ in range(30):
            for runner, wanted in rules.items():
                hosts.run(runner, "nft", "flush set inet netvps gateways")
                await Nftables((*hosts.enter(runner), "nft")).load(wanted)
    for runner, wanted in rules.items():
        await Nftables((*hosts.enter(runner), "nft")).remove(wanted.tables)


def _earlier(runner: str) -> Ruleset:
    """As it was once: all peers by their prefixes."""
    rules = ruleset(view(runner), PORTS)
    inet = rules.tables["inet netvps"]
    sources = frozenset(f"{peer.mac} . {peer.lease.cidr}" for peer in view(runner).peers())
    kept = {name: each for name, each in inet.sets.items() if name != "subnets"}
    kept["sources"] = Set("ether_addr . ipv4_addr", sources, interval=True)
    believed = Chain(("ether saddr . ip saddr @sources goto tracking-in", "drop"))
    return Ruleset({**rules.tables, "inet netvps": Table(kept, {**inet.chains, "from-tunnel": believed})})


async def test_no_packet_is_lost_where_an_earlier_version_was(hosts: Lab) -> None:
    """Nor one of a runner that is in the kernel, and not in the netmap that was kept."""
    older = ruleset(view("one", netmap().updated(NetmapUpdate(2, gone_peers=("two",)))), PORTS)
    enter = hosts.enter("one")
    for _ in range(5):
        await Nftables((*enter, "nft")).load(_earlier("one"))
        restarted = Nftables((*enter, "nft"))
        with structlog.testing.capture_logs() as logs, pinging(hosts.enter("ann1"), SESSIONS["ann3"][1], every=0.0002):
            await restarted.add(older)
            added = _listed(hosts)
            await restarted.load(RULES)
        assert f'comment "{mark(RULES.tables["inet netvps"].chains["from-tunnel"].rules[0])}"' in added
        assert logs == []
        assert await restarted.loaded()
    await Nftables((*enter, "nft")).remove(TABLES)


async def test_connections_live_through_reloads(hosts: Lab) -> None:
    """On one bridge, over the tunnel, from the gateway, and masqueraded to the outside: every byte, and no pause."""
    filters = {runner: Nftables((*hosts.enter(runner), "nft")) for runner in RUNNERS}
    rules = {runner: ruleset(view(runner), PORTS) for runner in RUNNERS}
    for runner in RUNNERS:
        await filters[runner].load(rules[runner])
    done = threading.Event()
    pairs = [("ann1", "ann2"), ("ann1", "ann3"), ("door", "bob2"), ("bob1", "out")]
    with ExitStack() as stack:
        streams = [Stream(*stack.enter_context(connected(hosts, *pair)), done) for pair in pairs]
        stack.callback(done.set)
        for _ in range(50):
            for runner in ("one", "two"):
                await Nftables((*hosts.enter(runner), "nft")).load(rules[runner])
        done.set()
        for stream, pair in zip(streams, pairs, strict=True):
            assert await asyncio.to_thread(stream.intact), pair
    for each in filters.values():
        await each.remove(TABLES)


class Stream:
    """Sends from one end to the other until asked to stop."""

    def __init__(self, sender: socket.socket, receiver: socket.socket, done: threading.Event) -> None:
        self._sender, self._receiver, self._done = sender, receiver, done
        self._sent, self._received = hashlib.sha256(), hashlib.sha256()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def intact(self) -> bool:
        for thread in self._threads:
            thread.join(60)
        return self._sent.digest() == self._received.digest() != hashlib.sha256().digest()

    def _send(self) -> None:
        while not self._done.wait(0.01):  # a busy stream would keep both processors from the rest
            self._sender.sendall(SENT[:65536])
            self._sent.update(SENT[:65536])
        self._sender.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        while data := self._receiver.recv(65536):
            self._received.update(data)
