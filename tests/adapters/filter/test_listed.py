from __future__ import annotations

import json

from netvps.adapters.filter.listed import listed, wanted
from netvps.adapters.filter.rules.nft import Chain, Set, Table, mark


def test_a_table_as_nft_tells_of_it_is_the_one_that_was_loaded() -> None:
    table = Table(
        {
            "bound": Set("ifname . ipv4_addr", frozenset({'"veth1" . 10.0.0.2'})),
            "owners": Set("ipv4_addr : verdict", frozenset({"10.0.0.2 : jump owner-ann", "10.0.0.3 : goto other"})),
            "sources": Set("ipv4_addr", frozenset({"10.0.0.0/22"}), interval=True),
            "none": Set("ipv4_addr"),
        },
        {"input": Chain(("ip saddr 10.0.0.1 accept", "drop"), "type filter hook input priority 0"), "empty": Chain(())},
    )
    said = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"name": "netvps"}},
        {"chain": {"name": "input"}},
        {"chain": {"name": "empty"}},
        {"set": {"name": "bound", "elem": [{"concat": ["veth1", "10.0.0.2"]}]}},
        {"map": {"name": "owners", "elem": [["10.0.0.2", {"jump": {"target": "owner-ann"}}],
                                            ["10.0.0.3", {"goto": {"target": "other"}}]]}},
        {"set": {"name": "sources", "flags": ["interval"], "elem": [{"prefix": {"addr": "10.0.0.0", "len": 22}}]}},
        {"set": {"name": "none"}},
        {"rule": {"chain": "input", "comment": mark("ip saddr 10.0.0.1 accept"), "expr": []}},
        {"rule": {"chain": "input", "comment": mark("drop"), "expr": []}},
    ]  # fmt: skip
    assert listed(json.dumps({"nftables": said})) == wanted(table)
    assert listed(json.dumps({"nftables": said[:-1]})) != wanted(table)
    assert listed(json.dumps({"nftables": [*said, {"rule": {"chain": "empty"}}]})) != wanted(table)
