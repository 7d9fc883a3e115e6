"""Migrates the schema in one transaction; refuses databases of other programs and newer ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from netvps.adapters.store.dialects.dialect import edge
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from netvps.adapters.store.dialects.dialect import Dialect

_SCRIPTS = Path(__file__).with_name("migrations")


def known_schemas() -> frozenset[str]:
    """Returns every schema revision that this program can migrate from."""
    return frozenset(script.revision for script in ScriptDirectory(str(_SCRIPTS)).walk_revisions())


async def migrate(engine: AsyncEngine, dialect: Dialect) -> None:
    """Runs the missing migrations. Raises ConfigError, without changes, if the database is not suitable."""
    with edge(dialect):
        async with engine.begin() as connection:
            await dialect.lock_schema(connection)
            await connection.run_sync(_upgrade, dialect.place)


def migrations(connection: Connection) -> Config:
    """Returns Alembic's configuration, for migrations on a connection."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, place: str) -> None:
    config = migrations(connection)
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is None and inspect(connection).get_table_names():
        raise ConfigError(f"{place} belongs to another program; nothing was changed. Give netvps a separate database")
    if current is not None and current not in known:
        raise ConfigError(
            f"{place} is newer than this program: it has schema {current}, this program knows "
            f"{scripts.get_current_head()}; "
            "nothing was changed. Install the netvps that used it last, or restore a backup from before"
        )
    command.upgrade(config, "head")
