from __future__ import annotations

import pytest

from netvps.domain.overlay.netmap import Endpoint
from netvps.domain.overlay.nft import Chain, Set
from netvps.domain.overlay.owners import addresses_by_owner, holders, owner_table
from netvps.errors import InvalidInput

HERE = Endpoint("a", "web", "ann", "10.128.0.2")
THERE = Endpoint("b", "db", "ann", "10.128.4.2")
OTHER = Endpoint("c", "db", "bob", "10.128.4.3")


def test_only_owners_with_sessions_here_are_known_and_all_that_they_have() -> None:
    assert addresses_by_owner([HERE], [HERE, THERE, OTHER]) == {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}


def test_an_address_is_the_newest_sessions() -> None:
    later = Endpoint("z", "web", "bob", HERE.address)
    assert holders([HERE, later, THERE]) == holders([later, HERE, THERE]) == [later, THERE]


def test_each_owner_has_a_set_and_a_chain_that_sessions_here_lead_to() -> None:
    table = owner_table([HERE], {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}, ("ip daddr @{name} accept",))
    assert table.sets == {
        "owners": Set("ipv4_addr : verdict", frozenset({"10.128.0.2 : jump owner-ann"})),
        "owner-ann": Set("ipv4_addr", frozenset({"10.128.0.2", "10.128.4.2"})),
    }
    assert table.chains == {"owner-ann": Chain(("ip daddr @owner-ann accept",))}


@pytest.mark.parametrize("owner", ["", "a b", "a;", "a{", "-a", "A", "a" * 33])
def test_what_is_no_name_never_gets_to_nft(owner: str) -> None:
    with pytest.raises(InvalidInput):
        owner_table([], {owner: frozenset()}, ())
