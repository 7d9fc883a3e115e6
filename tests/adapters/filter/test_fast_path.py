"""The fast path with real packets (see lab.py), on runners whose long way is closed; and what keeps it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import pytest
import structlog

from netvps.adapters.filter.fast_path import FastPath
from netvps.adapters.filter.nftables import Nftables
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.filter import ruleset
from netvps.domain.overlay.health import Health
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.overlay.view import View
from tests.adapters.filter.conftest import links_of
from tests.adapters.filter.lab import PORTS, Lab, attach, netmap, tunnel, view
from tests.adapters.filter.own import Own
from tests.adapters.filter.traffic import ADDRESS, connected, ears, routed, say
from tests.adapters.filter.traffic import put as put_frame

pytestmark = pytest.mark.netns
TABLE = "netdev netvps"
_TIMES = 3
"""One of the bridge's lessons (a packet in half a minute) goes the long way."""


def _fast(hosts: Lab, runner: str, *, wanted: bool = True) -> FastPath:
    return FastPath(Nftables((*hosts.enter(runner), "nft")), partial(links_of, hosts, runner), wanted=wanted)


def _there(hosts: Lab, runner: str) -> str:
    return hosts.run(runner, "nft", "list", "table", *TABLE.split(), check=False)


@pytest.fixture
async def fast(hosts: Lab) -> dict[str, FastPath]:
    """On two of the runners, loaded; no other rules are."""
    made = {runner: _fast(hosts, runner) for runner in ("one", "two")}
    for runner, each in made.items():
        await each.load(view(runner), PORTS)
    return made


@contextmanager
def closed(hosts: Lab, *runners: str) -> Iterator[None]:
    """Nothing is routed there."""
    drop = "type filter hook prerouting priority -310; iifname { nv0, nvbr0 } drop"
    for runner in runners:
        hosts.run(runner, "nft", "-f", "-", stdin=f"table ip closed {{ chain c {{ {drop}; }}; }}")
    try:
        yield
    finally:
        for runner in runners:
            hosts.run(runner, "nft", "delete", "table", "ip", "closed")


def _heard(hosts: Lab, sender: str, receiver: str, text: bytes = b"hello") -> bool:
    with ears(hosts, receiver) as (ear,):
        for _ in range(_TIMES):
            say(hosts, sender, ADDRESS[receiver], text)
        return {*ear.heard()} == {text}


@pytest.mark.parametrize(("sender", "receiver"), [("ann1", "ann5"), ("ann5", "ann1")])
async def test_between_two_runners_no_other_way_is_needed(
    hosts: Lab, fast: dict[str, FastPath], sender: str, receiver: str
) -> None:
    with closed(hosts, *fast):
        assert _heard(hosts, sender, receiver)
        assert _heard(hosts, sender, receiver, bytes(1450 - 28))
        assert not _heard(hosts, "bob1", "ann5")
        assert not _heard(hosts, "ann1", "bob2")


async def test_tcp_goes_the_long_way_to_begin_with(hosts: Lab, fast: dict[str, FastPath]) -> None:
    sent = bytes(range(256)) * 4096
    with connected(hosts, "ann1", "ann5") as (client, accepted), closed(hosts, *fast):
        for mouth, ear in ((client, accepted), (accepted, client)):
            mouth.sendall(sent[: 1 << 16])
            left = 1 << 16
            while left:
                left -= len(ear.recv(left))
        with closing(hosts.open("ann1", client.type)) as late:
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.connect((ADDRESS["ann5"], 23))


async def test_the_bridge_learns_where_a_session_is(hosts: Lab, fast: dict[str, FastPath]) -> None:
    """What a session says goes the long way at times."""
    await fast["one"].remove()
    await fast["one"].load(view("one"), PORTS)
    hosts.run("one", "ip", "link", "set", "p-ann1", "type", "bridge_slave", "fdb_flush")
    assert _heard(hosts, "ann1", "ann5")
    assert "p-ann1" in [line.split()[2] for line in _learned(hosts, "one")]


def _learned(hosts: Lab, runner: str) -> list[str]:
    lines = hosts.run(runner, "bridge", "fdb", "show", "br", "nvbr0").splitlines()
    return [line for line in lines if "permanent" not in line]


async def test_lies_do_not_go_the_fast_way(hosts: Lab, fast: dict[str, FastPath]) -> None:
    lies: list[dict[str, str]] = [
        {"address": ADDRESS["ann1"]},
        {"address": ADDRESS["ann1"], "mac": "06:00:00:00:00:01"},
    ]
    with closed(hosts, *fast), ears(hosts, "ann5") as (ear,):
        for _ in range(_TIMES):
            for lie in lies:
                put_frame(hosts, "bob1", routed(hosts, "bob1", ADDRESS["ann5"], b"spoofed", **lie))
        assert ear.heard() == []


@pytest.mark.parametrize(
    ("changed", "receiver"),
    [
        (replace(view("one"), health=Health({"two": 1300})), "ann5"),
        (view("one", netmap().updated(NetmapUpdate(2, gone_endpoints=("uid-ann5",)))), "ann5"),
        (view("one", netmap().updated(NetmapUpdate(2, gone_peers=("two",)))), "ann5"),
        (
            view("one", netmap().updated(NetmapUpdate(2, (), (Endpoint("uid-ann1", "a", "bob", ADDRESS["ann1"]),)))),
            "ann5",
        ),
    ],
    ids=["a smaller mtu", "a session that is gone", "a runner that is gone", "an address that changed hands"],
)
async def test_what_is_not_to_go_there_any_more_does_not(
    hosts: Lab, fast: dict[str, FastPath], changed: View, receiver: str
) -> None:
    tracker = Tracker()
    for seen in (view("one"), changed):
        await fast["one"].load(seen, PORTS, tracker.follow(seen))
    with closed(hosts, "one"):
        assert not _heard(hosts, "ann1", receiver)
    assert _heard(hosts, "ann1", receiver)  # no other rules are loaded here


@pytest.mark.parametrize("along", [True, False], ids=["with its chain", "without"])
async def test_a_link_that_goes_costs_nothing_and_is_as_before_when_it_is_back(
    hosts: Lab, fast: dict[str, FastPath], *, along: bool
) -> None:
    """First of a session, then to all others. Kernels before 6.16 take the chain along, later ones leave it."""

    def gone(link: str, chain: str) -> None:
        hosts.run("one", "ip", "link", "delete", link)
        if along:
            hosts.run("one", "nft", f"flush chain {TABLE} {chain}; delete chain {TABLE} {chain}", check=False)

    async def again(ports: Mapping[str, str]) -> None:
        with structlog.testing.capture_logs() as logs:
            await fast["one"].load(view("one"), ports)
        assert logs == []

    gone("p-ann1", f"port-p-ann1-{ADDRESS['ann1']}")
    without = {address: port for address, port in PORTS.items() if port != "p-ann1"}
    await again(without)
    assert "p-ann1" not in _there(hosts, "one")
    attach(hosts, "one", "ann1", ADDRESS["ann1"])
    assert _heard(hosts, "ann1", "ann5")
    await again(PORTS)
    gone("nv0", "from-tunnel")
    await again(PORTS)
    assert _there(hosts, "one") == ""
    await again(PORTS)
    tunnel(hosts, "one")
    assert _heard(hosts, "ann1", "ann5")
    await again(PORTS)
    gone("nv0", "from-tunnel")
    tunnel(hosts, "one")
    assert _heard(hosts, "ann5", "ann1")
    await again(PORTS)
    with closed(hosts, *fast):
        assert _heard(hosts, "ann1", "ann5")
        assert _heard(hosts, "ann5", "ann1")


async def test_what_others_removed_is_there_again_after_a_look(hosts: Lab, fast: dict[str, FastPath]) -> None:
    before = _there(hosts, "one")
    for command in ("flush chain netdev netvps leaving", "delete table netdev netvps"):
        hosts.run("one", "nft", command)
        await fast["one"].look()
        await fast["one"].load(view("one"), PORTS)
        assert sorted(_there(hosts, "one").split()) == sorted(before.split())


async def test_where_it_is_not_wanted_what_an_earlier_run_left_goes(hosts: Lab, fast: dict[str, FastPath]) -> None:
    for made, seen in (
        (_fast(hosts, "one", wanted=False), view("one")),
        (_fast(hosts, "one"), replace(view("one"), hosting=False)),
    ):
        await fast["one"].look()
        await fast["one"].load(view("one"), PORTS)
        assert _there(hosts, "one")
        await made.load(seen, PORTS)
        assert _there(hosts, "one") == ""
        await made.load(seen, PORTS)


async def test_nft_or_a_kernel_that_cannot_is_told_of_once(hosts: Lab) -> None:
    """Whatever they refuse, there is another way."""
    refusing = "grep -q fwd && { echo 'Error: Not supported' >&2; exit 1; }"
    for nft, why in (
        (("sh", "-c", f"case $* in *list*) exit 1;; esac; {refusing}; exit 0", "nft"), "Not supported"),
        (("no-nft",), "cannot run no-nft"),
    ):
        made = FastPath(Nftables(nft), partial(links_of, hosts, "one"))
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                await made.load(view("one"), PORTS)
                await made.load(view("one"), PORTS)
                await made.look()
        (line,) = logs
        assert line["log_level"] == "warning"
        assert why in line["why"]


async def test_a_refusal_leaves_nothing_and_is_tried_again_after_a_look(hosts: Lab) -> None:
    nft = f'{" ".join(hosts.enter("one"))} nft "$@"'
    refusing = (
        f'text=$(cat); case "$text" in *nowhere*) echo "Error: no such link" >&2; exit 1;; esac; echo "$text"|{nft}'
    )
    wrapped = ("sh", "-c", f'case "$*" in *-f*) {refusing};; *) {nft};; esac', "nft")
    made = FastPath(Nftables(wrapped), lambda: links_of(hosts, "one") | {"nowhere": 999})
    await made.load(view("one"), PORTS)
    assert "p-ann1" in _there(hosts, "one")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await made.load(view("one"), PORTS | {ADDRESS["ann1"]: "nowhere"})
    assert "the packet filter could not be loaded: Error: no such link" in logs[-1]["why"]
    assert [line["event"].partition(",")[0] for line in logs].count("packets between sessions go the long way") == 1
    assert _there(hosts, "one") == ""
    await made.load(view("one"), PORTS)
    assert _there(hosts, "one") == ""
    await made.look()
    await made.load(view("one"), PORTS)
    assert "p-ann1" in _there(hosts, "one")


async def test_beside_the_filter_both_change_without_nft(hosts: Lab) -> None:
    """What one of the two does is no news to the other."""
    enter, seen, tracker = hosts.enter("one"), view("one"), Tracker()
    tracker.follow(seen)
    with closing(Own(hosts, "one")) as own:
        slow, quick = (Nftables((*enter, "nft"), own.generation, own.change) for _ in range(2))
        slow.beside(quick)
        made = FastPath(quick, partial(links_of, hosts, "one"))
        await slow.load(ruleset(seen, PORTS))
        await made.load(seen, PORTS)
        for number in range(2, 5):
            new = Endpoint(f"new{number}", "new", "ann", f"10.128.4.{70 + number}")
            seen = replace(seen, netmap=seen.netmap.updated(NetmapUpdate(number, endpoints=(new,))))
            await slow.load(ruleset(seen, PORTS))
            await made.load(seen, PORTS, tracker.follow(seen))
            assert _there(hosts, "one").count(new.address) == 1
        assert own.refused == [None] * 6
        assert await slow.loaded()
        await made.remove()
    await slow.remove(ruleset(seen).tables)
