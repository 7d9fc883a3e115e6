"""Keeps what was decided about requests, and decides again when what their clients may do has changed.

Open requests that may not pass any more are broken. A decision counts for further requests that show the same, for some
seconds and until a change concerns it: a page asks for a hundred files, and the control plane decides once.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.sleep.waking import LoginEffect
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netvps.gateway.http.exchange import Exchange
    from netvps.gateway.http.kept import KeptConnections
    from netvps.gateway.ports import Visitors
    from netvps.services.http.visits import AdmittedRequest
    from netvps.tasks import Tasks

log = structlog.get_logger()

KEPT_SECONDS: Final = 5.0
"""For which a decision counts: what has an end of its own, such as an API key, is not reported."""
_KEPT: Final = 4096
"""Maximum number of decisions."""
MOVED_SECONDS: Final = 10.0
"""For which a request goes on where its host leads to another session now: one that replaced the first."""
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

    def __init__(
        self, plane: Visitors, tasks: Tasks, exchanges: Collection[Exchange], connections: KeptConnections
    ) -> None:
        """`exchanges` are those that are open, as they come and go; `connections` end with what let them through."""
        self._plane, self._tasks, self._exchanges = plane, tasks, exchanges
        self._connections = connections
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._changes = self._session_changes = 0
        self._kept: dict[tuple[str, str, str], tuple[Admission, float]] = {}
        """Decisions by what was shown, with their ends."""
        plane.on_access(self._user_changed)
        plane.on_urls(self._urls_changed)
        plane.on_session(self._session_changed)

    async def admit(self, host: str, cookie: str, api_key: str) -> Admission:
        """Asks whether a request may pass, unless that is known. Raises what `Visitors.visit` raises."""
        shown = (host, cookie, api_key)
        admission, end = self._kept.get(shown, (None, 0.0))
        if admission is not None and time.monotonic() < end:
            return admission
        while True:
            changes, session_changes = self._changes, self._session_changes
            admission = Admission(host, cookie, api_key, await self._plane.visit(host, cookie, api_key))
            if changes == self._changes:  # else the answer may be from before the change
                break
        if admission.request.session.effect is LoginEffect.NONE and session_changes == self._session_changes:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[shown] = admission, time.monotonic() + KEPT_SECONDS
        return admission

    def counts(self, admission: Admission) -> bool:
        """Whether no change was reported since, and the session is awake."""
        kept = self._kept.get((admission.host, admission.cookie, admission.api_key))
        return kept is not None and kept[0] == admission

    def _user_changed(self, user: str) -> None:
        self._start(lambda request: user in {"", request.user})

    def _urls_changed(self, session_uid: str) -> None:
        self._start(lambda request: session_uid in {"", request.session.uid})

    def _session_changed(self, session_uid: str) -> None:
        """It may sleep now, or have another name; what is open stays."""
        self._session_changes += 1
        self._forget(lambda request: session_uid in {"", request.session.uid})

    def _forget(self, concerns: Callable[[AdmittedRequest], bool]) -> None:
        self._kept = {shown: kept for shown, kept in self._kept.items() if not concerns(kept[0].request)}
        self._connections.close(concerns)

    def _start(self, concerns: Callable[[AdmittedRequest], bool]) -> None:
        self._changes += 1
        self._forget(concerns)
        found: defaultdict[Admission, list[Exchange]] = defaultdict(list)
        for exchange in self._exchanges:
            if exchange.admission is not None and concerns(exchange.admission.request):
                found[exchange.admission].append(exchange)
        for admission, exchanges in found.items():
            self._tasks.start(self._review(admission, exchanges), name=f"review of requests to {admission.host}")

    async def _review(self, admission: Admission, exchanges: Collection[Exchange]) -> None:
        """Breaks them unless they would be let through to the same port now; also if the control plane is silent.

        Where the host leads elsewhere, they get a moment to end by themselves.
        """
        before = admission.request
        try:
            async with self._room:
                now = await self._plane.visit(admission.host, admission.cookie, admission.api_key)
            if (now.session.uid, now.port) == (before.session.uid, before.port):
                return
            reason = "the host leads elsewhere"
            await asyncio.sleep(MOVED_SECONDS)
        except NetvpsError as error:
            reason = error.message
        for exchange in exchanges:
            exchange.abort()
        log.info("requests ended", host=admission.host, user=before.user, count=len(exchanges), reason=reason)
