from __future__ import annotations

import pytest

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.interfaces.link_local import no_link_local_learning
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel.links import Bridge
from netvps.domain.overlay.kernel.operations import MakeBridge
from tests.support.namespaces import namespace

pytestmark = pytest.mark.netns


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
