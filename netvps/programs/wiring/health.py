"""The health of a control plane: waits for its database at the start, and checks its parts for /health/details."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps.adapters.store.opening import open_store
from netvps.domain.finding import Finding, Severity
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.errors import NetvpsError, Unavailable
from netvps.gateway.http.monitoring import CHECK_TIMEOUT
from netvps.process import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack

    from netvps.adapters.store.store import SqlStore
    from netvps.gateway.http.monitoring import HttpGateway
    from netvps.programs.wiring.gateway_process import GatewayProcess
    from netvps.services.access.accounts import Access
    from netvps.settings import ServerSettings

_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further attempt to open the database; the last one repeats."""
log = structlog.get_logger()


async def enter_store(
    stack: AsyncExitStack, settings: ServerSettings, http: HttpGateway, give_up: asyncio.Event | None
) -> SqlStore:
    """Opens the store, and waits for a database that is unavailable until `give_up` is set.

    Without that event it does not wait. Raises what open_store raises.
    """
    attempt = 0
    while True:
        try:
            return await stack.enter_async_context(open_store(settings.database, clock.now, settings.database_again))
        except Unavailable as error:
            if give_up is None or give_up.is_set():
                raise
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
            http.wait_for("the database")
            log.warning("waiting for the database", error=error.message, next_attempt_seconds=round(pause, 1))
        attempt += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await give_up.wait()


@dataclass(frozen=True, slots=True)
class ControlPlaneHealth:
    """Implements monitoring.Details."""

    store: SqlStore
    access: Access
    ssh: GatewayProcess

    def checks(self) -> Mapping[str, Callable[[], Awaitable[bool]]]:
        """What has to hold for the server to be ready."""
        return {"database": self._database_answers, "ssh gateway": self._gateway_serves}

    async def authorize(self, api_key: str) -> None:
        """As in the Protocol."""
        caller = await self.access.authenticate(api_key)
        caller.require_admin("see the health of the server")

    async def findings(self) -> list[Finding]:
        """As in the Protocol."""
        return [await self._database(), self._gateway(), await self._runners()]

    async def _database_answers(self) -> bool:
        async with self.store.read():
            return True

    async def _gateway_serves(self) -> bool:
        return self.ssh.serving

    async def _database(self) -> Finding:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._database_answers()
        except (NetvpsError, TimeoutError) as error:
            remedy = "look at the disk or the database server; netvps goes on by itself"
            return Finding(Severity.FAIL, "database", str(error) or "it does not answer", remedy)
        return Finding(Severity.OK, "database", f"{self.store.writers_waiting} writers wait")

    def _gateway(self) -> Finding:
        if not self.ssh.serving:
            return Finding(Severity.FAIL, "ssh gateway", "it is being restarted", "look at the server's log")
        return Finding(Severity.OK, "ssh gateway", f"{self.ssh.connections} connections")

    async def _runners(self) -> Finding:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT), self.store.read() as reader:
                tally = await reader.tally(Runner, "state")
        except (NetvpsError, TimeoutError):
            return Finding(Severity.WARN, "runners", "the database does not answer")
        counts = {state: sum(tally.get(state, ())) for state in RunnerState}
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none has joined"
        if counts[RunnerState.ONLINE] < sum(counts.values()):
            return Finding(Severity.WARN, "runners", text, "netvps runner ls")
        return Finding(Severity.OK, "runners", text)
