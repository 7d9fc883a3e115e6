from __future__ import annotations

from netvps.domain.access import rate_limit
from netvps.domain.access.rate_limit import Rate, RateLimit

MANY = Rate(1000, 1.0)


def test_a_source_waits_for_its_own_tries_only() -> None:
    limit = RateLimit(Rate(2, 64.0), MANY)
    assert [limit.take("a", 0.0) for _ in range(3)] == [0, 0, 32]
    assert limit.take("b", 0.0) == 0
    assert limit.take("a", 31.0) == 1
    assert limit.take("a", 32.0) == 0
    assert limit.take("a", 32.0) == 32


def test_a_try_that_is_refused_is_not_counted() -> None:
    limit = RateLimit(Rate(1, 60.0), MANY)
    assert limit.take("a", 0.0) == 0
    assert {limit.take("a", 30.0) for _ in range(100)} == {30}
    assert limit.take("a", 60.0) == 0


def test_all_sources_together_have_a_limit() -> None:
    limit = RateLimit(MANY, Rate(4, 32.0))
    assert [limit.take(str(one), 0.0) for one in range(5)] == [0, 0, 0, 0, 8]


def test_time_that_goes_back_gives_nothing() -> None:
    limit = RateLimit(Rate(1, 60.0), MANY)
    limit.take("a", 100.0)
    assert limit.take("a", 50.0) == 60


def test_the_table_is_bounded() -> None:
    limit = RateLimit(Rate(1, 60.0), Rate(1e9, 1.0))
    for one in range(rate_limit.SOURCES + 1):
        assert limit.take(str(one), 0.0) == 0
    assert limit.take("0", 0.0) == 0  # it was forgotten
    assert limit.take(str(rate_limit.SOURCES), 0.0) > 0
