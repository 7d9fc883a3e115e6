"""What becomes of programs and maps as links, views and processes come and go; judged by tc and by real packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from netvps.adapters.bpf.placed import Placed, indexes
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate
from tests.adapters.bpf.kernel import maps_of
from tests.adapters.filter.site.lab import PORTS, Lab, attach, tunnel, view

pytestmark = pytest.mark.netns
HERE = {link for link in PORTS.values() if link != "p-ann5"}
"""Sessions' links of the first runner."""


@pytest.fixture
def placed(hosts: Lab) -> Iterator[Placed]:
    """On the first runner, which the thread is in."""
    with hosts.inside("one"):
        made = Placed(OBJECT_NAMES)
        made.load(view("one"), PORTS, None)
        yield made
        made.remove()


def _programs(hosts: Lab) -> dict[str, str]:
    """Of links that have one: which, with its id."""
    found = {}
    for link in indexes():
        for line in hosts.run("one", *f"tc filter show dev {link} ingress".split()).splitlines():
            if "netvps/" in line:
                words = line.split()
                found[link] = f"{words[words.index('0x1') + 1]} {words[words.index('id') + 1]}"
    return found


def _maps(hosts: Lab, link: str = "nv0") -> dict[str, dict[bytes, bytes]]:
    return maps_of(int(_programs(hosts)[link].split()[1]))


def test_each_link_has_the_program_that_is_for_it(hosts: Lab, placed: Placed) -> None:
    found = _programs(hosts)
    assert found.keys() == {"nv0", *HERE}
    assert found["nv0"].startswith("netvps/arriving ")
    (of_sessions,) = {found[link] for link in HERE}
    assert of_sessions.startswith("netvps/leaving ")
    assert len(_maps(hosts)["netvps_owners"]) == len(_maps(hosts, "p-ann1")["netvps_owners"]) == 7  # not cyd's
    placed.load(view("one"), PORTS, None)
    assert _programs(hosts) == found


def test_a_session_that_stops_and_starts_has_it_again(hosts: Lab, placed: Placed) -> None:
    before = _programs(hosts)
    hosts.run("one", "ip", "link", "delete", "p-ann1")
    assert len(_maps(hosts)["netvps_links"]) == len(HERE)
    placed.load(view("one"), {at: link for at, link in PORTS.items() if link != "p-ann1"}, None)
    assert _programs(hosts).keys() == {"nv0", *HERE} - {"p-ann1"}
    attach(hosts, "one", "ann1", "10.128.0.2")
    placed.load(view("one"), PORTS, None)
    assert _programs(hosts) == before
    assert _maps(hosts)["netvps_links"][bytes([10, 128, 0, 2])] == indexes()["p-ann1"].to_bytes(4, "little")


def test_a_link_that_is_no_sessions_any_more_has_none(hosts: Lab, placed: Placed) -> None:
    placed.load(view("one"), {"10.128.0.3": "p-ann2"}, None)
    assert _programs(hosts).keys() == {"nv0", "p-ann2"}


def test_where_the_device_is_gone_there_is_nothing_until_it_is_back(hosts: Lab, placed: Placed) -> None:
    hosts.run("one", "ip", "link", "delete", "nv0")
    placed.load(view("one"), PORTS, None)
    assert _programs(hosts) == {}
    tunnel(hosts, "one")
    placed.load(view("one"), PORTS, None)
    assert _programs(hosts).keys() == {"nv0", *HERE}


def test_a_device_recreated_between_two_loads_has_it(hosts: Lab, placed: Placed) -> None:
    hosts.run("one", "ip", "link", "delete", "nv0")
    tunnel(hosts, "one")
    placed.load(view("one"), PORTS, None)
    assert _programs(hosts).keys() == {"nv0", *HERE}
    assert _maps(hosts)["netvps_links"][bytes(4)] == indexes()["nv0"].to_bytes(4, "little")


def test_what_others_took_away_is_there_again_after_a_look(hosts: Lab, placed: Placed) -> None:
    before = _programs(hosts)
    for command in ("tc qdisc delete dev nv0 clsact", "tc filter delete dev p-ann1 ingress"):
        hosts.run("one", *command.split())
        placed.check_attached()
        placed.load(view("one"), PORTS, None)
        assert _programs(hosts) == before


def test_a_change_alone_is_enough(hosts: Lab, placed: Placed) -> None:
    tracker, old = Tracker(), view("one")
    tracker.follow(old)
    before = _maps(hosts)["netvps_owners"]
    update = NetmapUpdate(2, (), (Endpoint("new", "new", "ann", "10.128.4.77"),), (), ("uid-ann5",))
    new = replace(old, netmap=old.netmap.updated(update))
    change = tracker.follow(new)
    assert change
    placed.load(new, PORTS, change)
    after = _maps(hosts)["netvps_owners"]
    assert after.keys() == before.keys() - {bytes([10, 128, 4, 5])} | {bytes([10, 128, 4, 77])}
    assert after[bytes([10, 128, 4, 77])] == before[bytes([10, 128, 0, 2])]


def test_other_terms_make_other_programs_with_the_same_maps(hosts: Lab, placed: Placed) -> None:
    before, seen = _programs(hosts), view("one")
    placed.load(replace(seen, underlay=replace(seen.underlay, mtu=1400)), PORTS, None)
    after = _programs(hosts)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())


@contextmanager
def _another() -> Iterator[Placed]:
    made = Placed(OBJECT_NAMES)
    yield made
    made.remove()


@pytest.mark.usefixtures("placed")
def test_a_later_process_puts_its_own_in_place_and_removes_orphans(hosts: Lab) -> None:
    before = _programs(hosts)
    with _another() as later:
        later.load(view("one"), {at: link for at, link in PORTS.items() if link != "p-bob1"}, None)
        after = _programs(hosts)
        assert after.keys() == before.keys() - {"p-bob1"}
        assert not set(after.values()) & set(before.values())


@pytest.mark.usefixtures("placed")
def test_nothing_is_left_of_what_an_earlier_process_made(hosts: Lab) -> None:
    with _another() as later:
        later.remove()
        assert _programs(hosts) == {}
