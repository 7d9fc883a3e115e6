"""Errors of a batch name the request."""

from __future__ import annotations

from netvps.domain.batch import at_index
from netvps.errors import AlreadyExists, InvalidInput, Violation


def test_an_error_keeps_its_class_and_reason_and_names_the_request() -> None:
    error = at_index(AlreadyExists("session dev1 exists already", reason="REQUEST_ID_REUSED"), 3)
    assert isinstance(error, AlreadyExists)
    assert (str(error), error.reason) == ("requests[3]: session dev1 exists already", "REQUEST_ID_REUSED")


def test_violations_keep_their_fields() -> None:
    error = at_index(InvalidInput(Violation("spec.image", "none"), Violation("owner", "bad")), 0)
    assert isinstance(error, InvalidInput)
    assert [one.field for one in error.violations] == ["requests[0].spec.image", "requests[0].owner"]
