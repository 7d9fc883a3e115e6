"""The overlay's objects in real namespaces.

a: eth0 192.0.2.1 ── br0 ── eth0 192.0.2.2 :b
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import KernelState
from netvps.domain.overlay.kernel.plan import plan
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import WrongState
from tests.support.images import BUSYBOX
from tests.support.namespaces import Namespace, joined

pytestmark = pytest.mark.netns
SETTINGS = OverlaySettings("test cluster")


@pytest.fixture
def hosts() -> Iterator[list[Namespace]]:
    with joined(2) as made:
        yield made


@pytest.fixture
async def kernel(host: Namespace) -> AsyncIterator[NetlinkKernel]:  # noqa: ARG001 — within it
    async with NetlinkKernel(server="192.0.2.9") as opened:
        yield opened


def peer(number: int, mtu: int = 1450, address: str = "") -> Peer:
    uid, cidr = f"runner{number}", f"10.{128 + number // 64}.{4 * (number % 64)}.0/22"
    underlay = Underlay((address or f"192.0.2.{number}",), mtu)
    return Peer(uid, uid, Lease(cidr, uid, 1), device_mac(SETTINGS, uid), underlay)


def view(own: int, *peers: Peer) -> View:
    me = peer(own)
    return View(me.runner, SETTINGS, me.lease, me.underlay, Netmap().updated(NetmapUpdate(1, peers=(me, *peers))))


async def make(kernel: NetlinkKernel, desired: KernelState) -> None:
    assert await kernel.apply(diff(desired, await kernel.dump())) == []
    assert diff(desired, await kernel.dump()) == ()


async def test_two_hosts_reach_each_other(hosts: list[Namespace]) -> None:
    for number, host in enumerate(hosts, 1):
        with host.inside():
            async with NetlinkKernel(server="192.0.2.2") as kernel:
                assert (await kernel.unable(), (await kernel.underlay()).addresses) == ("", (f"192.0.2.{number}",))
                await make(kernel, plan(view(number, peer(3 - number))))
    hosts[0].run(str(BUSYBOX), "ping", "-c", "1", "-W", "5", "10.128.8.1")
    hosts[1].run(str(BUSYBOX), "ping", "-c", "1", "-W", "5", "-s", "4000", "10.128.4.0")
    assert hosts[0].ip("route", "get", "10.128.100.1", check=False) == ""


async def test_when_something_was_last_sent_to_a_peer_is_known(hosts: list[Namespace]) -> None:
    with hosts[0].inside():
        async with NetlinkKernel(server="192.0.2.2") as kernel:
            assert await kernel.used() == {}
            others = [peer(2), peer(3)]
            await make(kernel, plan(view(1, *others)))
            await asyncio.sleep(1.0)  # what was never used counts from when it was made
            hosts[0].run(str(BUSYBOX), "ping", "-c", "1", "-W", "1", "10.128.8.0", check=False)
            used = await kernel.used()
    assert used.keys() == {other.mac for other in others}
    assert used[others[0].mac] < used[others[1].mac] - 0.5


async def test_what_it_makes_is_what_it_planned(kernel: NetlinkKernel, host: Namespace) -> None:
    desired = plan(view(1, peer(2, mtu=1400), peer(3)))
    await make(kernel, desired)
    assert host.ip("-4", "route", "show", "table", "main", "proto", "201").splitlines() == [
        "unreachable 10.128.0.0/10 ",
        "10.128.8.0/22 via 10.128.8.0 dev nv0 onlink mtu 1400 ",
        "10.128.12.0/22 via 10.128.12.0 dev nv0 onlink ",
    ]
    neighbours = host.ip("neighbour", "show", "dev", "nv0", "nud", "permanent").splitlines()
    assert sorted(line.strip() for line in neighbours) == sorted(
        f"10.128.{4 * number}.0 lladdr {peer(number).mac} PERMANENT" for number in (2, 3)
    )
    fdb = host.run("bridge", "fdb", "show", "dev", "nv0").splitlines()
    assert sorted(line.strip() for line in fdb) == sorted(
        f"{peer(number).mac} dst 192.0.2.{number} self permanent" for number in (2, 3)
    )
    assert "nolearning" in host.ip("-d", "link", "show", "nv0")


async def test_changes_keep_the_device(kernel: NetlinkKernel, host: Namespace) -> None:
    await make(kernel, plan(view(1, peer(2), peer(3))))
    before = host.ip("link", "show", "nv0").split(":")[0]
    host.ip("address", "add", "192.0.2.77/24", "dev", "eth0")
    moved = replace(view(1, peer(2, address="192.0.2.200"), peer(4)), underlay=Underlay(("192.0.2.77",), 1400))
    await make(kernel, plan(moved))
    assert host.ip("link", "show", "nv0").split(":")[0] == before
    assert "local 192.0.2.77" in host.ip("-d", "link", "show", "nv0")
    other = replace(moved, overlay_settings=replace(SETTINGS, port=14790))
    await make(kernel, plan(other))
    assert host.ip("link", "show", "nv0").split(":")[0] != before


async def test_another_family_of_addresses_needs_another_device(kernel: NetlinkKernel, host: Namespace) -> None:
    await make(kernel, plan(view(1, peer(2))))
    host.ip("address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    six = replace(view(1, peer(2), peer(3, address="2001:db8::3")), underlay=Underlay(("2001:db8::1",), 1430))
    desired = plan(six)
    await make(kernel, desired)
    assert set(desired.fdb.values()) == {"2001:db8::3"}


async def test_nothing_desired_leaves_nothing(kernel: NetlinkKernel, host: Namespace) -> None:
    def traces() -> str:
        shown = (("-o", "address"), ("route", "show", "table", "all"), ("neighbour",))
        ipv4 = [host.ip("-4", *what) for what in shown]  # of IPv6, other addresses may not be settled yet (RFC 4862)
        return " ".join(host.links() + ipv4).replace(" linkdown", "")  # nor may the carrier of eth0

    before = traces()
    await make(kernel, plan(view(1, peer(2), peer(3))))
    assert traces() != before
    await make(kernel, KernelState())
    assert traces() == before


async def test_a_refused_entry_stops_no_other(kernel: NetlinkKernel) -> None:
    await make(kernel, plan(view(1)))
    failures = await kernel.apply(
        [
            op.PutNeighbour("10.128.8.0", "02:00:00:00:00:02"),
            op.PutFdb("02:00:00:00:00:02", "2001:db8::2"),  # the device speaks IPv4
            op.PutRoute("10.128.8.0/22", plan(view(1, peer(2))).routes["10.128.8.0/22"]),
            op.DropRoute("10.200.0.0/22"),
            op.DropNeighbour("10.200.0.0"),
            op.DropFdb("02:00:00:00:00:99"),
        ]
    )
    assert [failure.operation for failure in failures] == [op.PutFdb("02:00:00:00:00:02", "2001:db8::2")]
    assert failures[0].why.startswith("put fdb 02:00:00:00:00:02: ")
    assert "10.128.8.0/22" in (await kernel.dump()).routes


async def test_thousands_at_once(kernel: NetlinkKernel) -> None:
    desired = plan(view(1, *(peer(number, address="192.0.2.200") for number in range(2, 1502))))
    await make(kernel, desired)
    await make(kernel, plan(view(1)))


async def test_routes_of_others_are_seen_and_left_alone(kernel: NetlinkKernel, host: Namespace) -> None:
    host.ip("route", "add", "10.128.8.0/22", "via", "192.0.2.5")
    actual = await kernel.dump()
    assert actual.foreign == {"192.0.2.0/24": "192.0.2.0/24 dev eth0", "10.128.8.0/22": "10.128.8.0/22 dev eth0"}
    assert await kernel.apply(diff(plan(view(1, peer(2))), actual)) == []
    assert "10.128.8.0/22 via 192.0.2.5 dev eth0" in host.ip("route")


async def test_a_foreign_link_of_our_name(kernel: NetlinkKernel, host: Namespace) -> None:
    host.ip("link", "add", "nv0", "type", "bridge")
    with pytest.raises(WrongState, match="link nv0 is no vxlan but bridge"):
        await kernel.dump()


async def test_the_port_is_taken_by_a_program(kernel: NetlinkKernel, host: Namespace) -> None:
    """That is said, and nothing of what cannot be for it."""
    desired = plan(view(1, peer(2), peer(3)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", SETTINGS.port))
        (failure,) = await kernel.apply(diff(desired, await kernel.dump()))
        assert failure.why.startswith("UDP port 14789 is in use: stop what uses it")
        assert host.ip("link", "show", "nv0", check=False) == ""
        assert (await kernel.dump()).bridge == desired.bridge
    await make(kernel, desired)


async def test_a_kernel_without_vxlan_says_so(
    kernel: NetlinkKernel, host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the refusal of a kind of link that no kernel has, which is the kernel's own."""
    before = host.links()
    with monkeypatch.context() as patched:
        patched.setattr("netvps.adapters.netlink.interfaces.interfaces.VXLAN", "nv-none")
        assert await kernel.unable() == "no overlay: this kernel has no VXLAN; load the module (modprobe vxlan)"
        (failure,) = await kernel.apply([op.MakeDevice(plan(view(1)).device or pytest.fail("no device"))])
        assert failure.why.startswith("this kernel has no VXLAN; load the module (modprobe vxlan), or use a kernel")
    assert host.links() == before
    assert await kernel.unable() == ""


async def test_another_device_has_our_vni(kernel: NetlinkKernel, host: Namespace) -> None:
    host.ip("link", "add", "alien", "type", "vxlan", "id", "7", "dstport", "14789", "local", "192.0.2.1")
    failures = await kernel.apply(diff(plan(view(1)), await kernel.dump()))
    assert failures[0].why.startswith("another VXLAN device has VNI 7 on UDP port 14789: delete it")
