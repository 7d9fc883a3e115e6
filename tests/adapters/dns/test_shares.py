from __future__ import annotations

from netvps.adapters.dns.shares import Shares


def test_one_address_cannot_take_what_is_for_all() -> None:
    shares = Shares(total=3, each=2)
    assert [shares.take("a") for _ in range(3)] == [True, True, False]
    assert [shares.take("b") for _ in range(2)] == [True, False]
    shares.give("a")
    assert shares.take("b")
    assert not shares.take("c")
