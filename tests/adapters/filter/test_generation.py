from __future__ import annotations

import pytest

from netvps.adapters.filter import generation as module
from netvps.adapters.filter.generation import generation
from tests.support.namespaces import namespace


@pytest.mark.netns
def test_each_transaction_counts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with namespace() as host, host.inside():
        before = generation()
        assert before is not None
        host.run("nft", "add table inet one; add chain inet one two")
        assert generation() == before + 1
        host.run("nft", "list", "ruleset")
        assert generation() == before + 1
        monkeypatch.setattr(module, "_NETLINK_NETFILTER", 4096)
        assert generation() is None
