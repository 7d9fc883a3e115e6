"""Mutations that happen once, however often they are asked for: the request id and what came of it (promise P2)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access import Request
from netvps.domain.checks import Checks, shown
from netvps.errors import AlreadyExists, NotFound, TooOld

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access import Caller
    from netvps.services.ports import R, Resource, Store, Transaction

REQUEST_ID_MAX = 64
KEPT = timedelta(hours=24)
_SWEPT = 4
"""Neighbours looked at per request: where requests come, at most a quarter of what is kept is out of date."""


def check_request_id(checks: Checks, request_id: str) -> None:
    """Notes a violation unless it is up to 64 printable characters; '' is none."""
    checks.require(
        len(request_id) <= REQUEST_ID_MAX and request_id.isprintable(),
        "request_id",
        f"{shown(request_id)} is not up to {REQUEST_ID_MAX} printable characters",
    )


class Once:
    """One mutation in its transaction. Without a request id it is a new one each time."""

    def __init__(
        self, tx: Transaction, caller: Caller, request_id: str, now: datetime, method: str, *arguments: object
    ) -> None:
        """The arguments are values that json knows, or dataclasses of such."""
        self._tx = tx
        self._request_id = request_id
        self._key = f"{caller.user}/{request_id}"
        self._now = now
        canonical = json.dumps([method, *arguments], default=dataclasses.asdict, sort_keys=True)
        self._digest = hashlib.sha256(canonical.encode()).hexdigest()

    async def earlier(self) -> Request | None:
        """What was carried out under this id before. Raises AlreadyExists if that was something else."""
        if not self._request_id:
            return None
        request = await self._tx.get(Request, self._key)
        if request is not None and request.digest != self._digest:
            raise AlreadyExists(
                f"request_id {shown(self._request_id)} was used for {request.result_kind} {request.result_name} "
                "with other arguments: use a new one",
                reason="REQUEST_ID_REUSED",
            )
        return request

    async def earlier_secret(self) -> None:
        """Raises AlreadyExists if this was carried out before, and showed a secret."""
        request = await self.earlier()
        if request is not None:
            raise AlreadyExists(
                f"request_id {shown(self._request_id)} made {request.result_name} already, and its secret is shown "
                "only once: make another with a new request_id",
                reason="SECRET_SHOWN",
            )

    async def record(self, result: Resource, name: str) -> None:
        """Keeps what came of it; `result` is what this transaction changed last. Drops some old requests."""
        if not self._request_id:
            return
        await self._sweep()
        await self._tx.put(Request(self._key, self._digest, result.kind, result.key, name, self._now))

    async def _sweep(self) -> None:
        # Request ids are random, so what follows this one is a sample of all: no index by time, no sweeping task.
        near = await self._tx.page(Request, self._key, _SWEPT) or await self._tx.page(Request, "", _SWEPT)
        for request in near:
            if self._now - request.create_time > KEPT:
                await self._tx.delete(request)


async def recall(store: Store, kind: type[R], request: Request) -> tuple[R, bool]:
    """The result of an earlier request as it is now, or, if it is gone, as the request left it; and whether it is gone.

    Raises NotFound if it is gone, and the log does not reach back so far.
    """
    async with store.read() as reader:
        resource = await reader.get(kind, request.result_key)
    if resource is not None:
        return resource, False
    try:
        changes = await store.changes(max(request.revision - 2 - _SWEPT, 0), 3 + _SWEPT)
    except TooOld:
        changes = []
    for change in reversed(changes):
        found = change.resource
        if change.revision <= request.revision and isinstance(found, kind) and found.key == request.result_key:
            return found, True
    raise NotFound(f"{request.result_kind} {request.result_name} was made by this request, and is gone")
