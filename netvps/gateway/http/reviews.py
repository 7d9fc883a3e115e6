"""Decides again about open requests when what their clients may do has changed, and breaks those that may not pass."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netvps.gateway.http.exchange import Exchange
    from netvps.gateway.ports import Visitors
    from netvps.services.http.visits import AdmittedRequest
    from netvps.tasks import Tasks

log = structlog.get_logger()

_AT_ONCE: Final = 32
"""Questions to the control plane."""


@dataclass(frozen=True, slots=True)
class Admission:
    """How a request was let through: what it showed, and what the control plane said."""

    host: str
    cookie: str
    api_key: str
    request: AdmittedRequest


class Reviews:
    """Asks once for all requests that showed the same."""

    def __init__(self, plane: Visitors, tasks: Tasks, exchanges: Collection[Exchange]) -> None:
        """`exchanges` are those that are open, as they come and go."""
        self._plane, self._tasks, self._exchanges = plane, tasks, exchanges
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._changes = 0
        plane.on_access(self._user_changed)
        plane.on_urls(self._urls_changed)

    async def admit(self, host: str, cookie: str, api_key: str) -> Admission:
        """Asks whether a request may pass. Raises what `Visitors.visit` raises."""
        while True:
            changes = self._changes
            request = await self._plane.visit(host, cookie, api_key)
            if changes == self._changes:  # else the answer may be from before the change
                return Admission(host, cookie, api_key, request)

    def _user_changed(self, user: str) -> None:
        self._start(lambda request: user in {"", request.user})

    def _urls_changed(self, session_uid: str) -> None:
        self._start(lambda request: session_uid in {"", request.session.uid})

    def _start(self, concerns: Callable[[AdmittedRequest], bool]) -> None:
        self._changes += 1
        found: defaultdict[Admission, list[Exchange]] = defaultdict(list)
        for exchange in self._exchanges:
            if exchange.admission is not None and concerns(exchange.admission.request):
                found[exchange.admission].append(exchange)
        for admission, exchanges in found.items():
            self._tasks.start(self._review(admission, exchanges), name=f"review of requests to {admission.host}")

    async def _review(self, admission: Admission, exchanges: Collection[Exchange]) -> None:
        """Breaks them unless they would be let through to the same port now; also if the control plane is silent."""
        before = admission.request
        try:
            async with self._room:
                now = await self._plane.visit(admission.host, admission.cookie, admission.api_key)
            if (now.session.uid, now.port) == (before.session.uid, before.port):
                return
            reason = "the host leads elsewhere"
        except NetvpsError as error:
            reason = error.message
        for exchange in exchanges:
            exchange.abort()
        log.info("requests ended", host=admission.host, user=before.user, count=len(exchanges), reason=reason)
