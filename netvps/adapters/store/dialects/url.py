"""Chooses the dialect for a database URL."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from netvps.adapters.store.dialects.sqlite import Sqlite
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.adapters.store.dialects.dialect import Dialect


def dialect_of(url: str, read_again: Callable[[], str] | None = None) -> Dialect:
    """Returns the dialect of "sqlite:///PATH" or "postgresql://…". Raises ConfigError.

    `read_again` returns the present URL, for a password that changes while the program runs.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unknown("it is not a URL") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed)
        case "postgresql":
            return _postgresql(parsed, read_again)
        case other:
            raise _unknown(f"netvps does not support {other!r}")


def _sqlite(url: URL) -> Dialect:
    if not url.database or url.database == ":memory:" or url.query or url.host:
        raise _unknown(
            "SQLite needs a file: an absolute path has four slashes, like sqlite:////var/lib/netvps/store.db"
        )
    return Sqlite(url.database)


def _postgresql(url: URL, read_again: Callable[[], str] | None) -> Dialect:
    if find_spec("asyncpg") is None:  # an optional extra of the package
        raise ConfigError(
            "the database URL names PostgreSQL, whose driver is not installed;"
            f" `{sys.executable} -m pip install asyncpg` installs it beside netvps"
        )
    from netvps.adapters.store.dialects.postgresql import Postgresql

    return Postgresql(url, read_again)


def _unknown(why: str) -> ConfigError:
    # The URL itself may carry a password.
    return ConfigError(f"the database URL is unusable, {why}; give sqlite:///PATH or postgresql://USER@HOST/NAME")
