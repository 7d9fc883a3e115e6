from __future__ import annotations

import pytest

from netvps.errors import InvalidInput
from netvps.rpc.convert.texts import sentence, word, words


def test_a_word_is_short_and_printable() -> None:
    assert word("a b", "name", 3) == "a b"
    for wrong in ("abcd", "a\n", "\x1b"):
        with pytest.raises(InvalidInput, match=r"^name: .* is not up to 3 printable characters$"):
            word(wrong, "name", 3)


def test_words_are_few() -> None:
    assert words(["a", "b"], "names", 2) == ("a", "b")
    with pytest.raises(InvalidInput, match="names: 3 are more than 2"):
        words(["a", "b", "c"], "names", 2)
    with pytest.raises(InvalidInput, match=r"names\[1\]: "):
        words(["a", "\0"], "names", 2)


def test_a_sentence_is_cut_and_escaped() -> None:
    assert sentence("it failed\nwith x", 20) == "it failed\nwith x"
    assert sentence("x" * 30, 20) == "x" * 19 + "…"
    assert sentence("\x1b[2J\r\u202e") == r"\x1b[2J\r\u202e"
