from __future__ import annotations

import pytest

from netvps.adapters.filter.rules.nft import Chain, Set
from netvps.adapters.filter.rules.owners import owner_table
from netvps.domain.overlay.netmap import Endpoint
from netvps.errors import InvalidInput

HERE = Endpoint("a", "web", "ann", "10.128.0.2")


def test_each_owner_has_a_set_and_a_chain_that_sessions_here_lead_to() -> None:
    table = owner_table([HERE], {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}, ("ip daddr @{name} accept",))
    assert table.sets == {
        "owners": Set("ipv4_addr : verdict", frozenset({"10.128.0.2 : jump owner-ann"})),
        "owner-ann": Set("ipv4_addr", frozenset({"10.128.0.2", "10.128.4.2"})),
    }
    assert table.chains == {"owner-ann": Chain(("ip daddr @owner-ann accept",))}


def test_what_depends_on_the_receiver_has_a_map_and_chains_of_its_own_and_the_same_sets() -> None:
    rules = ("ip daddr @{name} accept",), ("ip saddr @{name} accept",)
    table = owner_table([HERE], {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}, *rules)
    assert table.sets.keys() == {"owners", "receivers", "owner-ann"}
    assert table.sets["receivers"].elements == {"10.128.0.2 : jump to-owner-ann"}
    assert table.chains["to-owner-ann"] == Chain(("ip saddr @owner-ann accept",))


@pytest.mark.parametrize("owner", ["", "a b", "a;", "a{", "-a", "A", "a" * 33])
def test_what_is_no_name_never_gets_to_nft(owner: str) -> None:
    with pytest.raises(InvalidInput):
        owner_table([], {owner: frozenset()}, ())
