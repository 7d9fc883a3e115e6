from __future__ import annotations

import inspect

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps import errors
from netvps.errors import InvalidInput, NetvpsError, NotFound, Violation
from netvps.rpc.status import CODE_OF, ERROR_OF, code_of, from_status, to_status

LOSSY: dict[type[NetvpsError], type[NetvpsError]] = {errors.ConfigError: errors.WrongState}
"""Classes that share a code with another, and what becomes of them."""
ONLY_GRPC = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNIMPLEMENTED}
CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, NetvpsError)]


def test_the_tables_are_inverse_except_for_the_named_exceptions() -> None:
    assert {cls: ERROR_OF[code] for cls, code in CODE_OF.items()} == {cls: LOSSY.get(cls, cls) for cls in CODE_OF}
    assert {code: CODE_OF[cls] for code, cls in ERROR_OF.items() if code not in ONLY_GRPC} == {
        code: code for code in ERROR_OF if code not in ONLY_GRPC
    }


def test_every_class_and_every_code_has_its_place() -> None:
    assert set(CODE_OF) == set(CLASSES) - {NetvpsError}
    assert set(ERROR_OF) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_a_class_without_a_code_has_that_of_its_base() -> None:
    class NoSuchImage(NotFound):
        pass

    assert code_of(NoSuchImage("no image")) is grpc.StatusCode.NOT_FOUND
    assert code_of(NetvpsError("?")) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("cls", [cls for cls in CODE_OF if cls is not InvalidInput])
def test_message_and_reason_arrive(cls: type[NetvpsError]) -> None:
    arrived = from_status(*to_status(cls("it is so: do that", reason="SO")))
    assert arrived is not None
    assert (type(arrived), str(arrived), arrived.reason) == (LOSSY.get(cls, cls), "it is so: do that", "SO")


@given(st.lists(st.tuples(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=60)), min_size=1, max_size=5))
def test_all_violations_arrive(pairs: list[tuple[str, str]]) -> None:
    sent = InvalidInput(*(Violation(*pair) for pair in pairs))
    arrived = from_status(*to_status(sent))
    assert isinstance(arrived, InvalidInput)
    assert arrived.violations == sent.violations


def test_what_is_too_long_for_metadata_is_cut() -> None:
    many = InvalidInput(*(Violation(f"spec.env[{number}]", "x" * 200) for number in range(1000)))
    code, message, details = to_status(many)
    assert len(message.encode()) + len(details) < 8000
    arrived = from_status(code, message, details)
    assert isinstance(arrived, InvalidInput)
    assert arrived.violations[-1].description == "more violations are left out"


def test_a_foreign_status_is_left_alone() -> None:
    assert from_status(grpc.StatusCode.UNAVAILABLE, "no", None) is None
    assert from_status(grpc.StatusCode.UNAVAILABLE, "no", b"") is None
