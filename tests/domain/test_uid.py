from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.uid import UID_PATTERN, make_uid, uid_seconds

EPOCH = 1_704_067_200_000
times = st.integers(EPOCH, EPOCH + 2**41 - 1)
randoms = st.integers(0, 2**64)


@given(st.integers(0, 2**60), randoms)
def test_an_id_is_13_characters_of_its_alphabet(time: int, random: int) -> None:
    assert re.fullmatch(UID_PATTERN, make_uid(time, random))


@given(times, times, randoms, randoms)
def test_ids_are_ordered_by_time(one: int, two: int, random1: int, random2: int) -> None:
    if one != two:
        assert (make_uid(one, random1) < make_uid(two, random2)) is (one < two)


@given(times, st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1))
def test_ids_of_one_moment_differ_as_their_random_parts_do(time: int, one: int, two: int) -> None:
    assert (make_uid(time, one) == make_uid(time, two)) is (one == two)


def test_the_first_id() -> None:
    assert make_uid(EPOCH, 0) == "0" * 13
    assert make_uid(0, 1) == "0" * 12 + "1"


@given(times, randoms)
def test_the_time_of_an_id_is_in_it(time: int, random: int) -> None:
    assert uid_seconds(make_uid(time, random)) == time // 1000
