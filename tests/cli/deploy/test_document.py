"""YAML as written: lines, variables, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.cli.deploy.document import read_document
from netvps.errors import InvalidInput


def test_numbers_stay_as_they_were_written() -> None:
    document = read_document("a: 1.10\nb: 0755\nc: true\nd:\ne: '${X}-$$Y'\nf: [8080:80, 'on']\n", "f", {"X": "x"})
    assert document.value == {"a": "1.10", "b": "0755", "c": True, "d": None, "e": "x-$Y", "f": ["8080:80", "on"]}
    assert document.place(("f", "1")) == "f:6"
    assert document.place(("f", "9", "deeper")) == "f:6"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f: it is empty: declare a deployment and its services"),
        ("a: [", "f:1: this is no YAML: "),
        ("a: b: c", "f:1: this is no YAML: mapping values are not allowed "),
        ("a: \0", "f: this is no YAML: "),
        ("a: 1\na: 2", "f:2: a: this key is given twice: give it once"),
        ("x:\n  [1]: 2", "f:2: x.: a key is a word"),
        ("a: &x 1\nb: *x", "f:1: b: an alias (*name) is not taken: write the value again"),
        ("a: &x [*x]", "an alias (*name) is not taken"),
        ("a:\n  b: ${TAG}", "f:2: a.b: variable TAG is not set: set it, or write its value"),
        ("a: ${", "f:1: a: ${ begins a variable such as ${TAG}: write $${ for the characters themselves"),
        ("[" * 5000, "f: it is nested too deeply"),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_document(text, "f", {})
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_a_document_or_refused(text: str) -> None:
    try:
        read_document(text, "f", {})
    except InvalidInput as error:
        assert error.violations
