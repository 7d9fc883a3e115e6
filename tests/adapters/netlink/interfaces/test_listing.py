"""All links of a namespace."""

from __future__ import annotations

import pytest

from netvps.adapters.netlink.interfaces.listing import Link, all_links
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns


def test_each_is_there_with_its_master_and_its_state(host: Namespace) -> None:
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "far", "master", "br0")
    found = {link.name: link for link in all_links()}
    assert set(found) == {"lo", "eth0", "far", "br0"}
    bridge, far = found["br0"], found["far"]
    assert far == Link(far.index, "far", bridge.index, up=True)
    assert (bridge.master, bridge.up) == (0, False)
