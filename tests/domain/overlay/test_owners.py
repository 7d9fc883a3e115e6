from __future__ import annotations

from netvps.domain.overlay.netmap import Endpoint
from netvps.domain.overlay.owners import addresses_by_owner, holders

HERE = Endpoint("a", "web", "ann", "10.128.0.2")
THERE = Endpoint("b", "db", "ann", "10.128.4.2")
OTHER = Endpoint("c", "db", "bob", "10.128.4.3")


def test_only_owners_with_sessions_here_are_known_and_all_that_they_have() -> None:
    assert addresses_by_owner([HERE], [HERE, THERE, OTHER]) == {"ann": frozenset({"10.128.0.2", "10.128.4.2"})}


def test_an_address_is_the_newest_sessions() -> None:
    later = Endpoint("z", "web", "bob", HERE.address)
    assert holders([HERE, later, THERE]) == holders([later, HERE, THERE]) == [later, THERE]
