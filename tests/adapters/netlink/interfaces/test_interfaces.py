"""Links and addresses by pyroute2, in a namespace of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from netvps.adapters.netlink.interfaces.interfaces import Links, whole_days
from netvps.adapters.netlink.refused import Refused
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Address, Bridge, Device
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns
DEVICE = Device(7, 14789, "192.0.2.1", "02:00:00:00:00:01", 1450)
BRIDGE = Bridge("02:42:0a:80:00:01", 1450, 365)


@pytest.fixture
def links(host: Namespace) -> Iterator[Links]:  # noqa: ARG001 — within it
    with Links(OBJECT_NAMES) as opened:
        yield opened


def test_what_was_made_is_what_is_seen(links: Links) -> None:
    assert (links.device(), links.bridge(), links.index("nv0")) == (None, None, 0)
    links.apply(op.MakeDevice(DEVICE))
    links.apply(op.MakeBridge(BRIDGE))
    assert (links.device(), links.bridge()) == (DEVICE, BRIDGE)
    changed = Device(7, 14789, "192.0.2.2", DEVICE.mac, 1400)
    links.apply(op.ChangeDevice(changed))
    assert links.device() == changed


def test_a_bridge_that_keeps_multicast_groups_is_changed_live(links: Links, host: Namespace) -> None:
    host.ip("link", "add", "nvbr0", "type", "bridge", "mcast_snooping", "1")
    seen = links.bridge()
    assert seen is not None
    assert seen.snooping
    links.apply(op.ChangeBridge(BRIDGE))
    assert links.bridge() == BRIDGE


def test_checksum_offload_changes_on_the_live_device(links: Links) -> None:
    links.apply(op.MakeDevice(DEVICE))
    index = links.index("nv0")
    without = replace(DEVICE, checksum_offload=False)
    for device in (without, without, DEVICE):
        links.apply(op.ChangeDevice(device))
        assert (links.device(), links.index("nv0")) == (device, index)
    links.apply(op.RemoveDevice())
    links.apply(op.MakeDevice(without))
    assert links.device() == without


def test_programs_can_be_put_at_the_device_without_stopping_it(links: Links, host: Namespace) -> None:
    links.apply(op.MakeDevice(DEVICE))
    assert "qdisc clsact" in host.run("tc", "qdisc", "show", "dev", "nv0")


def test_what_goes_may_be_gone_and_what_comes_may_be_there(links: Links) -> None:
    links.apply(op.MakeBridge(BRIDGE))
    address = Address("nvbr0", "10.128.4.1/22")
    for operation in (op.PutAddress(address), op.PutAddress(address)):
        links.apply(operation)
    assert links.addresses() == {address}
    for again in (op.DropAddress(address), op.DropAddress(address), op.RemoveBridge(), op.RemoveBridge()):
        links.apply(again)
    links.apply(op.RemoveDevice())
    assert (links.addresses(), links.bridge()) == (frozenset(), None)


def test_a_device_changed_by_others_is_seen_in_its_actual_state(links: Links, host: Namespace) -> None:
    host.ip("link", "add", "nv0", "type", "vxlan", "id", "9", "dstport", "4789", "remote", "192.0.2.7", "dev", "eth0")
    seen = links.device()
    assert seen is not None
    assert (seen.vni, seen.port, seen.remote, seen.learning, seen.up) == (9, 4789, "192.0.2.7", True, False)


def test_ports_are_put_on_the_bridge_and_it_keeps_its_mac_and_mtu(links: Links, host: Namespace) -> None:
    links.apply(op.MakeBridge(BRIDGE))
    for name in ("one", "two"):
        host.ip("link", "add", f"veth-{name}", "mtu", "1300", "type", "veth", "peer", "name", f"end-{name}")
    links.attach(frozenset({"veth-one", "veth-two", "gone"}))
    links.attach(frozenset({"veth-one"}))
    assert host.ip("link", "show", "master", "nvbr0").count(",UP") == 2
    host.ip("link", "set", "veth-one", "nomaster")
    host.ip("link", "set", "veth-two", "down")
    links.attach(frozenset({"veth-one", "veth-two"}))
    assert host.ip("link", "show", "master", "nvbr0").count(",UP") == 2
    assert links.bridge() == BRIDGE


def test_a_bridge_that_forgets_is_changed_in_place_and_keeps_what_it_learned(links: Links, host: Namespace) -> None:
    """As one that was changed by hand, or made by an earlier version: by itself a bridge forgets after 300 s."""
    links.apply(op.MakeBridge(BRIDGE))
    assert _ageing_time(host) == 365 * 24 * 60 * 60 * 100
    host.ip("link", "add", "veth-one", "type", "veth", "peer", "name", "end-one")
    host.ip("link", "set", "end-one", "up")
    links.attach(frozenset({"veth-one"}))
    learned = ("02:42:0a:80:00:09", "dev", "veth-one", "master")
    host.run("bridge", "fdb", "add", *learned, "dynamic")  # which ages like what frames taught it
    index = links.index("nvbr0")
    host.ip("link", "set", "nvbr0", "type", "bridge", "ageing_time", "30000")
    assert links.bridge() == replace(BRIDGE, ageing_days=0)
    for _ in range(2):
        links.apply(op.ChangeBridge(BRIDGE))
        assert (links.bridge(), links.index("nvbr0")) == (BRIDGE, index)
        assert _ageing_time(host) == 365 * 24 * 60 * 60 * 100
    assert " ".join(learned[:3]) in host.run("bridge", "fdb", "show", "br", "nvbr0")
    host.ip("link", "delete", "veth-one")
    assert learned[0] not in host.run("bridge", "fdb", "show", "br", "nvbr0")


def test_an_ageing_time_is_read_as_set_at_300_ticks_a_second() -> None:
    """Its jiffies_to_clock_t takes a tick for 3,333,333 ns."""
    ticks = 365 * 24 * 60 * 60 * 300 * 3_333_333 // 10_000_000
    assert ticks == 3_153_599_684
    assert [whole_days(ageing_time) for ageing_time in (ticks, 3_153_600_000, 30_000, 0)] == [365, 365, 0, 0]


def test_a_kernel_that_knows_vxlan_is_recognised_by_its_refusal(links: Links, host: Namespace) -> None:
    before = host.links()
    assert links.understands_vxlan()
    assert host.links() == before


def test_what_the_kernel_refuses_is_refused(links: Links) -> None:
    with pytest.raises(Refused):
        links.apply(op.PutAddress(Address("nvbr0", "10.128.4.1/22")))


def _ageing_time(host: Namespace) -> int:
    """Of the bridge, in hundredths of a second, by another than us."""
    (link,) = json.loads(host.ip("-d", "-j", "link", "show", "nvbr0"))
    return int(link["linkinfo"]["info_data"]["ageing_time"])
