from __future__ import annotations

import pytest

from netvps.adapters.netlink.interfaces.mac import link_mac
from tests.support.namespaces import namespace

pytestmark = pytest.mark.netns


def test_a_links_mac_is_read_in_the_namespace_that_we_are_in() -> None:
    with namespace() as host:
        host.ip("link", "add", "nvq0", "address", "02:00:00:12:34:ab", "type", "bridge")
        with host.inside():
            assert link_mac("nvq0") == "02:00:00:12:34:ab"
            assert link_mac("nvq1") == ""
    assert link_mac("nvq0") == ""
