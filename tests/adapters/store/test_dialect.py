"""URLs of databases, and errors that belong to none of them."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from netvps.adapters.store import dialect
from netvps.adapters.store.dialect import dialect_of, edge
from netvps.adapters.store.sqlite import Sqlite
from netvps.errors import ConfigError, InternalError, NetvpsError, NotFound, Unavailable


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/store.db",
        "sqlite:////tmp/x.db?mode=ro",
        "mysql://root:hunter2@db/netvps",
        "postgresql//x:hunter2@y",
    ],
)
def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="the database URL is not usable") as caught:
        dialect_of(url)
    assert "hunter2" not in str(caught.value)


def test_messages_name_the_place_but_not_the_password() -> None:
    assert dialect_of("sqlite:////var/lib/netvps/store.db").place == "database /var/lib/netvps/store.db"
    assert dialect_of("postgresql://me:hunter2@db.example:5433/netvps").place == "database netvps at db.example"


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install 'netvps\\[postgresql\\]'"):
        dialect_of("postgresql://db/netvps")


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (PoolTimeout("QueuePool limit"), Unavailable, "all 8 connections are busy"),
        (InvalidRequestError("closed"), InternalError, "did not take a statement"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "no connection to the database"),
        (TimeoutError(), Unavailable, "no connection to the database"),
        (NotFound("no such thing"), NotFound, "no such thing"),
    ],
)
def test_errors_of_no_database_in_particular_are_mapped(
    error: Exception, kind: type[NetvpsError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence), edge(Sqlite("/x/store.db")):
        raise error
