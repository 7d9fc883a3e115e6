"""The lines between `netvps ssh-proxy` and the gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.proxy import MAX_LINE, Word, line, parse


@given(st.sampled_from(Word), st.text())
def test_a_line_is_read_as_it_was_written(word: Word, text: str) -> None:
    written = line(word, text)
    assert written.index(b"\n") == len(written) - 1 < MAX_LINE
    found = parse(written[:-1])
    assert found is not None
    assert found[0] is word
    assert found[1].isprintable()
    if text.isprintable() and text.isascii() and len(text) < 900:
        assert found[1] == text


@pytest.mark.parametrize("text", [b"", b"SSH-2.0-netvps\r", b"NETVPS-PROXY nonsense x", b"NETVPS-PROXY"])
def test_other_lines_are_no_answer(text: bytes) -> None:
    assert parse(text) is None


def test_a_server_sends_no_sequences_to_terminals() -> None:
    assert parse(b"NETVPS-PROXY wait \x1b[2Jhello\r") == (Word.WAIT, " [2Jhello")
