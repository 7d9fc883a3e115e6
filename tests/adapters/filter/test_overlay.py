"""The filter as a whole; what comes of it is in test_isolation.py and test_borders.py."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import structlog

from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from netvps.domain.runner.runner import Underlay
from netvps.errors import Unavailable
from tests.adapters.filter.conftest import overlay_filter
from tests.adapters.filter.site.lab import Lab, view
from tests.adapters.filter.site.own import Own
from tests.adapters.filter.site.traffic import (
    ADDRESS,
)

pytestmark = pytest.mark.netns


def _state(lab: Lab) -> str:
    at_links = (lab.run("two", *f"tc filter show dev {link} ingress".split()) for link in ("nv0", "p-ann5"))
    return lab.run("two", "nft", "-s", "list", "ruleset") + re.sub(r"id \d+ ", "", "".join(at_links))


async def test_nothing_is_left_of_it(filtered: Lab) -> None:
    hosts, made = filtered, overlay_filter(filtered, "two")
    await made.load(view("two"))
    before = _state(hosts)
    assert "netvps/arriving" in before
    assert "netvps/leaving" in before
    await made.remove()
    bare = _state(hosts)
    assert "netvps" not in bare.lower()
    await made.load(view("two"))
    assert await made.loaded()
    assert sorted(_state(hosts).split()) == sorted(before.split())
    await made.remove()
    assert _state(hosts) == bare
    await made.load(view("two"))


async def test_a_link_that_is_known_now_is_bound_with_the_next_load(hosts: Lab) -> None:
    known: dict[str, str] = {}

    async def ports() -> dict[str, str]:
        return dict(known)

    enter = hosts.enter("two")
    made = OverlayFilter(Nftables((*enter, "nft")), Iptables(prefix=enter), Firewalld(program="none"), ports)
    await made.load(view("two"))
    assert await made.loaded()
    known[ADDRESS["ann3"]] = "p-ann3"
    assert not await made.loaded()
    await made.load(view("two"))
    assert await made.loaded()
    assert '"p-ann3"' in _state(hosts)


async def test_while_the_engine_is_away_ports_are_as_they_were(hosts: Lab) -> None:
    away = False

    async def ports() -> dict[str, str]:
        if away:
            raise Unavailable("Docker does not answer")
        return {ADDRESS["ann3"]: "p-ann3" if before else "p-new"}

    enter, before = hosts.enter("two"), True
    made = OverlayFilter(Nftables((*enter, "nft")), Iptables(prefix=enter), Firewalld(program="none"), ports)
    await made.load(view("two"))
    away, before = True, False
    made.reload_ports()
    await made.load(view("two"))
    assert await made.loaded()
    assert '"p-ann3"' in _state(hosts)
    away = False
    await made.load(view("two"))  # it is asked again, with no news
    assert '"p-new"' in _state(hosts)


@pytest.mark.parametrize("by_nft", [True, False], ids=["by nft", "where it can be without nft"])
async def test_what_changed_alone_is_loaded_as_all_of_it_would_be(
    hosts: Lab, request: pytest.FixtureRequest, *, by_nft: bool
) -> None:
    """Peers, sessions and links, one after the other and together."""
    known: dict[str, str] = {}

    async def ports() -> dict[str, str]:
        return dict(known)

    enter = hosts.enter("two")

    def made() -> OverlayFilter:
        return OverlayFilter(Nftables((*enter, "nft")), Iptables(prefix=enter), Firewalld(program="none"), ports)

    own = Own(hosts, "two")
    request.addfinalizer(own.close)
    nftables = Nftables((*enter, "nft"), *(() if by_nft else (own.generation, own.change)))
    kept = OverlayFilter(nftables, Iptables(prefix=enter), Firewalld(program="none"), ports)
    tracker, seen = Tracker(), view("two")
    two = seen.netmap.endpoints["uid-ann3"]
    one = next(seen.peers())
    await kept.load(seen, tracker.follow(seen))
    updates = [
        NetmapUpdate(2, endpoints=(replace(two, session="new", address="10.128.4.99"),)),
        NetmapUpdate(3, peers=(replace(one, underlay=Underlay(("192.0.2.77", "2001:db8::7"), 1450)),)),
        NetmapUpdate(4, endpoints=(replace(two, session="cat", owner="cat", address="10.128.4.98"),)),
        NetmapUpdate(5, gone_endpoints=("new", "uid-ann3"), gone_peers=(one.runner,)),
    ]
    for number, update in enumerate(updates):
        if number % 2:
            known["10.128.4.98"] = f"link{number}"
            kept.reload_ports()
        seen = replace(seen, netmap=seen.netmap.updated(update))
        change = tracker.follow(seen)
        assert change
        assert await kept.loaded() or number % 2  # it has looked, and its own doing is no news
        with structlog.testing.capture_logs() as logs:
            await kept.load(seen, change)
        assert logs == []
        listed = sorted(_state(hosts).replace(",", " ").split())
        await made().load(seen)
        assert sorted(_state(hosts).replace(",", " ").split()) == listed
    assert own.refused == ([] if by_nft else [None] * 3)  # an owner that comes is a chain
    hosts.run("two", "nft", "delete", "table", "inet", "netvps")
    seen = replace(seen, netmap=seen.netmap.updated(updates[0]))
    await kept.load(seen, tracker.follow(seen))  # what it stands on is gone: all of it is loaded
    assert await kept.loaded()


async def test_two_sessions_with_one_address_are_reported_once(hosts: Lab) -> None:
    made, seen = overlay_filter(hosts, "two"), view("two")
    later = Endpoint("uid-later", "bob9", "bob", ADDRESS["ann3"])
    seen = replace(seen, netmap=seen.netmap.updated(NetmapUpdate(2, endpoints=(later,))))
    with structlog.testing.capture_logs() as logs:
        await made.load(seen)
        await made.load(seen)
    said = [f"ann3.ann ({later.address}, which bob9.bob has, too)"]
    assert [line["sessions"] for line in logs if line["log_level"] == "warning"] == [said]
    assert f"{later.address} : jump owner-bob" in hosts.run("two", "nft", "list", "map", "inet", "netvps", "owners")


async def test_accepts_that_others_removed_are_there_again(hosts: Lab) -> None:
    made = overlay_filter(hosts, "two")
    await made.load(view("two"))
    before = _state(hosts)
    hosts.run("two", "iptables", "-F")
    assert await made.loaded()
    assert sorted(_state(hosts).split()) == sorted(before.split())


async def test_a_machine_that_cannot_filter_says_what_it_lacks(hosts: Lab) -> None:
    assert await overlay_filter(hosts, "one").unable() == ""

    async def nothing() -> dict[str, str]:
        return {}

    broken = ("sh", "-c", "echo 'Error: Operation not supported' >&2; exit 1")
    for nft, why in ((("no-nft",), "cannot run no-nft"), (broken, "Operation not supported; check that the kernel")):
        made = OverlayFilter(Nftables(nft), Iptables(program="none"), Firewalld(program="none"), nothing)
        assert why in await made.unable()
    await OverlayFilter(Nftables(("no-nft",)), Iptables(program="none"), Firewalld(program="none"), nothing).remove()


async def test_a_firewall_that_takes_no_accepts_is_said_once_and_stops_nothing(filtered: Lab) -> None:
    class Broken(Iptables):
        async def ensure(self, port: int) -> bool:
            raise Unavailable(f"iptables refused {port}")

    async def nothing() -> dict[str, str]:
        return {}

    nftables = Nftables((*filtered.enter("two"), "nft"))
    made = OverlayFilter(nftables, Broken(), Firewalld(program="none"), nothing)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await made.load(view("two"))
            assert await made.loaded()
    assert [(line["event"], line["error"]) for line in logs] == [
        ("iptables or firewalld may block sessions from each other", "iptables refused 14789")
    ]
