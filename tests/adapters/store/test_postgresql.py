"""PostgreSQL's troubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from netvps.adapters.store import open_store
from netvps.adapters.store.postgresql import Postgresql
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path


class DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("what happened")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", Exhausted),
        ("53300", Unavailable),
        ("57P01", Unavailable),
        ("55P03", Unavailable),
        ("40001", Unavailable),
        ("08006", Unavailable),
        ("28P01", ConfigError),
        ("3D000", ConfigError),
        ("42501", ConfigError),
        ("25006", ConfigError),
        ("XX001", DataLoss),
        ("23505", InternalError),
    ],
)
def test_states_go_by_their_class(state: str, kind: type[NetvpsError]) -> None:
    error = DBAPIError("SELECT 1", None, DriverError(state))
    assert type(Postgresql(make_url("postgresql://db/netvps")).explain(error)) is kind


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    with pytest.raises(Unavailable, match=f"database netvps at {tmp_path}: no connection to the database"):
        async with open_store(f"postgresql://me@/netvps?host={tmp_path}", clock):
            pass


@pytest.mark.postgres
async def test_a_database_that_is_not_there_is_a_config_error(
    request: pytest.FixtureRequest, clock: Callable[[], datetime]
) -> None:
    url: str = request.getfixturevalue("cluster").create_database()
    with pytest.raises(ConfigError, match=r"refuses this program \(SQLSTATE 3D000\); check its URL"):
        async with open_store(url.replace("/netvps_", "/nothing_"), clock):
            pass
