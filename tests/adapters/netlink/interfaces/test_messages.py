"""All links of a namespace."""

from __future__ import annotations

import pytest

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.interfaces.messages import Link, all_links, no_link_local_learning
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel.links import Bridge
from netvps.domain.overlay.kernel.operations import MakeBridge
from tests.support.namespaces import Namespace, namespace

pytestmark = pytest.mark.netns


def test_each_is_there_with_its_master_and_its_state(host: Namespace) -> None:
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "far", "master", "br0")
    found = {link.name: link for link in all_links()}
    assert set(found) == {"lo", "eth0", "far", "br0"}
    bridge, far = found["br0"], found["far"]
    assert far == Link(far.index, "far", bridge.index, up=True)
    assert (bridge.master, bridge.up) == (0, False)


def test_a_bridge_learns_by_no_frames_that_are_not_seen() -> None:
    """What comes of it is tested in tests/adapters/filter/test_overlay.py."""
    with namespace() as made:
        made.ip("link", "add", "br0", "type", "bridge")
        assert "no_linklocal_learn 0" in made.ip("-d", "link", "show", "br0")
        index = int(made.ip("-o", "link", "show", "br0").partition(":")[0])
        with made.inside(), BulkSocket() as opened:
            for _ in range(2):
                assert opened.request([no_link_local_learning(index)]) == [None]
        assert "no_linklocal_learn 1" in made.ip("-d", "link", "show", "br0")


async def test_the_bridge_of_sessions_is_one_of_those() -> None:
    with namespace() as made, made.inside():
        async with NetlinkKernel() as kernel:
            assert await kernel.apply([MakeBridge(Bridge("02:00:00:00:00:01", 1450, 365))]) == []
        assert "no_linklocal_learn 1" in made.ip("-d", "link", "show", "nvbr0")
