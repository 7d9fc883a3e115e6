from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.checks import Checks, shown
from netvps.errors import InvalidInput


def refuse(field: str, why: str) -> None:
    raise InvalidInput.of(field, why)


def test_violations_are_collected_with_their_paths() -> None:
    checks = Checks()
    checks.require(True, "a", "holds")
    checks.require(False, "b", "is wrong")
    with checks.nested("outer"):
        refuse("inner", "is wrong too")
    with checks.nested():
        refuse("alone", "is wrong as well")
    with pytest.raises(InvalidInput) as caught:
        checks.done()
    assert str(caught.value) == "b: is wrong; outer.inner: is wrong too; alone: is wrong as well"


def test_what_holds_raises_nothing() -> None:
    checks = Checks()
    checks.require(True, "a", "holds")
    with checks.nested("b"):
        pass
    checks.done()


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), Checks().nested():
        raise ZeroDivisionError


@given(st.text() | st.binary() | st.integers(), st.integers(1, 100))
def test_what_is_shown_is_harmless_and_short(value: object, limit: int) -> None:
    text = shown(value, limit)
    assert text.isprintable()
    assert len(text) <= limit + 1
