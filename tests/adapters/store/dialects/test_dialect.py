"""Errors that belong to no database in particular."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import InvalidRequestError

from netvps.adapters.store.dialects.dialect import edge
from netvps.adapters.store.dialects.sqlite import Sqlite
from netvps.errors import InternalError, NetvpsError, NotFound, Unavailable


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (InvalidRequestError("closed"), InternalError, "rejected a statement"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "cannot connect to the database"),
        (TimeoutError(), Unavailable, "takes too long to answer; try again"),
        (NotFound("no such thing"), NotFound, "no such thing"),
    ],
)
def test_errors_of_no_database_in_particular_are_mapped(
    error: Exception, kind: type[NetvpsError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence), edge(Sqlite("/x/store.db")):
        raise error
