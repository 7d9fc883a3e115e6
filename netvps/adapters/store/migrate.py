"""Migrates the schema in one transaction; refuses databases of other programs and newer ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from netvps.adapters.store.dialects.dialect import edge
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from netvps.adapters.store.dialects.dialect import Dialect, Engine

_CURRENT = text("SELECT version_num FROM alembic_version")
_SCRIPTS = Path(__file__).with_name("migrations")


def known_schemas() -> frozenset[str]:
    """Returns every schema revision that this program can migrate from: the numbers of the migrations' files."""
    return frozenset(file.name.partition("_")[0] for file in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))


async def migrate(engine: Engine, dialect: Dialect) -> None:
    """Runs the missing migrations. Raises ConfigError, without changes, if the database is not suitable."""
    with edge(dialect):
        await engine.transaction(partial(_upgrade, dialect.place))


def migrations(connection: Connection) -> Config:
    """Returns Alembic's configuration, for migrations on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(place: str, connection: Connection) -> None:
    known = known_schemas()
    newest = max(known)
    tables = inspect(connection).get_table_names()
    current = connection.scalar(_CURRENT) if "alembic_version" in tables else None
    if current == newest:
        return
    if current is None and tables:
        raise ConfigError(f"{place} belongs to another program; nothing was changed. Give netvps a separate database")
    if current is not None and current not in known:
        raise ConfigError(
            f"{place} is newer than this program: it has schema {current}, this program knows {newest}; "
            "nothing was changed. Install the netvps that used it last, or restore a backup from before"
        )
    from alembic import command  # Alembic takes 0.2 s to import, and most starts have nothing to migrate

    command.upgrade(migrations(connection), "head")
