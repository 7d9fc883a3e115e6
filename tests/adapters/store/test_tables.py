"""Positions in the natural order."""

from __future__ import annotations

import pytest

from netvps.adapters.store.tables import KINDS


@pytest.mark.parametrize(
    ("kind", "after", "values"),
    [
        ("session", "", ("", "")),
        ("session", "dev.alice", ("dev", "alice")),
        ("session", "dev", ("dev", "")),
        ("session", "a.b.c", ("a", "b.c")),
        ("lease", "10.0.0.0/22", ("10.0.0.0/22",)),
        ("user", "", ("",)),
    ],
)
def test_a_position_is_a_value_for_each_column_of_the_order(kind: str, after: str, values: tuple[str, ...]) -> None:
    assert KINDS[kind].position(after) == values


def test_every_kind_is_ordered_by_what_is_unique() -> None:
    for kind in KINDS.values():
        assert kind.order == ("key",) or any(set(kind.order) == set(unique.columns) for unique in kind.unique)
