from __future__ import annotations

from netvps.domain.names import SESSION_NAME_MAX, check_label
from netvps.domain.session.wordlist import ADJECTIVES, COUNT, NOUNS, pleasant_name


def test_every_number_is_another_name_and_each_is_a_label() -> None:
    names = {pleasant_name(number) for number in range(COUNT)}
    assert len(names) == COUNT == len(ADJECTIVES) * len(NOUNS)
    for name in names:
        check_label(name, "name", SESSION_NAME_MAX)


def test_numbers_beyond_begin_again() -> None:
    assert pleasant_name(COUNT) == pleasant_name(0) == "amber-acorn"
