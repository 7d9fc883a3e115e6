from __future__ import annotations

from netvps.adapters.dns.shares import Shares


def test_one_address_cannot_take_what_is_for_all() -> None:
    shares = Shares(total=3, each=2)
    assert [shares.acquire("a") for _ in range(3)] == [True, True, False]
    assert [shares.acquire("b") for _ in range(2)] == [True, False]
    shares.release("a")
    assert shares.acquire("b")
    assert not shares.acquire("c")
