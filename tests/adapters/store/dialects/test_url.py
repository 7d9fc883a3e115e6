"""URLs of databases."""

from __future__ import annotations

import pytest

from netvps.adapters.store.dialects import url
from netvps.adapters.store.dialects.url import dialect_of
from netvps.errors import ConfigError


@pytest.mark.parametrize(
    "text",
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
def test_an_unusable_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError, match="the database URL is unusable") as caught:
        dialect_of(text)
    assert "hunter2" not in str(caught.value)


def test_messages_name_the_place_but_not_the_password() -> None:
    assert dialect_of("sqlite:////var/lib/netvps/store.db").place == "database /var/lib/netvps/store.db"
    assert dialect_of("postgresql://me:hunter2@db.example:5433/netvps").place == "database netvps at db.example"


def test_a_missing_driver_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="-m pip install asyncpg`"):
        dialect_of("postgresql://db/netvps")
