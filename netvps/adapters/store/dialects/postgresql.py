"""PostgreSQL by asyncpg: the store for several servers at once.

Writers queue for the lock on the clock's row (SELECT … FOR UPDATE; SQLite's compiler omits that, as the file is
locked). At READ COMMITTED everything after that lock sees the previous writer's commit. Readers are REPEATABLE READ: a
snapshot.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog
from asyncpg.exceptions import TargetServerAttributeNotMatched
from sqlalchemy import event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from netvps.adapters.store.dialects.dialect import PATIENCE, READERS
from netvps.errors import ConfigError, DataLoss, Exhausted, InternalError, NetvpsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Connection, ExceptionContext
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")

_SCHEMA_LOCK = 0x6E657476  # "netv", among the database's advisory locks
# Classes (the first two characters) of https://www.postgresql.org/docs/current/errcodes-appendix.html
_AWAY = {"08", "40", "53", "55", "57"}
_STANDBY = "25006"  # "read_only_sql_transaction": this server was the primary until a failover
_REFUSED = {"25", "28", "3D", "3F", "42501"}

log = structlog.get_logger()


class PostgresqlEngine:
    """A pool of connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def connect(self) -> AsyncConnection:
        """Creates a connection, not started yet."""
        return self._engine.connect()

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction, alone: it holds an advisory lock."""
        async with self._engine.begin() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            return await connection.run_sync(work)

    async def dispose(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


class Postgresql:
    """A database of a PostgreSQL server."""

    def __init__(self, url: URL, read_again: Callable[[], str] | None = None) -> None:
        """`read_again` returns the present URL, whose password new connections use. It may raise ValueError."""
        self._url = url.set(drivername="postgresql+asyncpg")
        self._read_again = read_again
        self._password = url.password

    now = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")

    @property
    def place(self) -> str:
        """The name and hosts of the database."""
        hosts = self._url.query.get("host") or "localhost"
        host = self._url.host or (hosts if isinstance(hosts, str) else " or ".join(hosts))
        return f"database {self._url.database or ''} at {host}"

    def prepare(self) -> None:
        """Does nothing: the administrator creates the database."""

    def secure(self) -> None:
        """Does nothing: the administrator sets its permissions."""

    def reader(self) -> PostgresqlEngine:
        """Creates connections whose transactions are read-only snapshots."""
        return PostgresqlEngine(self._engine(READERS, "REPEATABLE READ", read_only=True))

    def writer(self) -> PostgresqlEngine:
        """Creates one connection: this process' writers take turns anyway."""
        return PostgresqlEngine(self._engine(1, "READ COMMITTED", read_only=False))

    async def password(self) -> str | None:
        """Returns the password for a new connection: that of the present URL, else the last one that was read."""
        try:
            present = await asyncio.to_thread(self._read_again) if self._read_again else ""
        except ValueError as error:
            log.warning("the database URL cannot be read again; the last password is used", error=str(error))
            return self._password
        try:
            self._password = make_url(present).password or self._password
        except (ArgumentError, ValueError):  # whose text may contain the password
            log.warning("the database URL is not a URL any more; the last password is used")
        return self._password

    def explain(self, error: DBAPIError) -> NetvpsError:
        """Maps an error by its SQLSTATE."""
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state == "53100":
            return Exhausted(f"{self.place}: the server's disk is full, nothing was changed; free space there")
        if state in {"XX001", "XX002"}:
            return DataLoss(f"{self.place} is damaged ({error.orig}); restore a backup")
        if isinstance(getattr(error.orig, "__cause__", None), TargetServerAttributeNotMatched):
            return Unavailable(f"{self.place}: no host of its URL is the primary, which accepts writes; try again")
        if error.connection_invalidated or state[:2] in _AWAY or state == _STANDBY:
            return Unavailable(f"{self.place} is unavailable or busy (SQLSTATE {state or 'none'}); try again")
        if state[:2] in _REFUSED or state in _REFUSED:
            return ConfigError(f"{self.place} refuses this program (SQLSTATE {state}); check its URL and its grants")
        return InternalError(
            f"{self.place}: the database rejected a statement (SQLSTATE {state}); see the server's log"
        )

    def _engine(self, size: int, isolation: str, *, read_only: bool) -> AsyncEngine:
        settings = {
            "application_name": "netvps",
            "lock_timeout": f"{PATIENCE:.0f}s",
            "default_transaction_read_only": "on" if read_only else "off",
            "timezone": "UTC",
        }
        arguments = {"password": self.password} if self._read_again and self._password else {}
        engine = create_async_engine(
            self._url,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,  # detects a restarted server before a request, not during it
            hide_parameters=True,
            isolation_level=isolation,
            connect_args={
                "timeout": PATIENCE,
                "command_timeout": 3 * PATIENCE,
                "server_settings": settings,
                "target_session_attrs": "primary",  # of several hosts in the URL, the one that accepts writes
                **arguments,
            },
        )
        event.listen(engine.sync_engine, "handle_error", _leave_standby)
        return engine


def _leave_standby(context: ExceptionContext) -> None:
    """Drops connections to a former primary, so that the pool reconnects to the present one."""
    if getattr(context.original_exception, "sqlstate", None) == _STANDBY:
        context.is_disconnect = True
