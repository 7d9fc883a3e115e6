from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.pieces import MAX_PIECE, pieces


@given(st.integers(0, 3 * MAX_PIECE + 1))
def test_pieces_are_as_large_as_they_may_be_and_together_the_whole(size: int) -> None:
    found = list(pieces(b"x" * size))
    assert sum(map(len, found)) == size
    assert all(len(piece) == MAX_PIECE for piece in found[:-1])
    assert all(0 < len(piece) <= MAX_PIECE for piece in found)
