"""Text of others, in any pieces, steers no terminal."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from netvps.display.text import LogFilter, clean

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


@given(st.text())
def test_a_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()


@given(st.lists(st.binary()))
def test_only_colours_are_left_of_escapes(pieces: list[bytes]) -> None:
    log = LogFilter()
    text = "".join([*map(log.feed, pieces), log.feed(b"", last=True)])
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", _COLOUR.sub("", text))


def test_a_colour_in_two_pieces_passes() -> None:
    log = LogFilter()
    assert log.feed(b"a\x1b[3") + log.feed(b"1mred\x1b]0;title\x07") == "a\x1b[31mred]0;title"
