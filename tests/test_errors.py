from __future__ import annotations

import pytest

from netvps import errors
from netvps.errors import InternalError, InvalidInput, NetvpsError, NotFound, Violation

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NetvpsError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_in_the_tree_and_has_a_reason_for_programs(kind: type[NetvpsError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.default_reason.replace("_", "").isupper()


def test_reasons_are_different_except_for_the_root() -> None:
    reasons = [kind.default_reason for kind in CLASSES if kind not in {NetvpsError, InternalError}]
    assert len(reasons) == len(set(reasons))


def test_an_error_is_its_sentence() -> None:
    error = NotFound("no session dev1: see netvps ls", reason="SESSION_GONE")
    assert (str(error), error.message, error.reason) == (
        error.message,
        "no session dev1: see netvps ls",
        "SESSION_GONE",
    )
    assert NotFound("x").reason == "NOT_FOUND"


def test_bad_input_lists_all_violations() -> None:
    error = InvalidInput(Violation("a", "is wrong"), Violation("b[2]", "is wrong too"))
    assert str(error) == "a: is wrong; b[2]: is wrong too"
    assert InvalidInput.of("a", "is wrong").violations == (Violation("a", "is wrong"),)
