"""Idempotency: a mutation with a request id is carried out once, and retries get its result (promise P2)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Request
from netvps.domain.checks import shown
from netvps.errors import AlreadyExists, NotFound, TooOld

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import R, Resource, Store, Transaction

KEPT = timedelta(hours=24)
_SWEPT = 4
"""Number of neighbouring records checked per request: so at most a quarter of the stored records is expired."""


class Idempotency:
    """The idempotency record of one mutation, within its transaction.

    Without a request id every call is a new mutation.
    """

    def __init__(
        self, tx: Transaction, caller: Caller, request_id: str, now: datetime, method: str, *arguments: object
    ) -> None:
        """The arguments are values that json can encode, or dataclasses of such values."""
        self._tx = tx
        self._request_id = request_id
        self._key = f"{caller.user}/{request_id}"
        self._now = now
        canonical = json.dumps([method, *arguments], default=dataclasses.asdict, sort_keys=True)
        self._digest = hashlib.sha256(canonical.encode()).hexdigest()

    async def earlier(self) -> Request | None:
        """The earlier mutation with this id, if any. Raises AlreadyExists if it was a different mutation."""
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
        """Raises AlreadyExists if the mutation was carried out before; its secret cannot be shown again."""
        request = await self.earlier()
        if request is not None:
            raise AlreadyExists(
                f"request_id {shown(self._request_id)} made {request.result_name} already, and its secret is shown "
                "only once: make another with a new request_id",
                reason="SECRET_SHOWN",
            )

    async def record(self, result: Resource, name: str) -> None:
        """Records the result, which must be the last change of this transaction. Deletes some expired records."""
        if not self._request_id:
            return
        await self._sweep()
        await self._tx.put(Request(self._key, self._digest, result.kind, result.key, name, self._now))

    async def _sweep(self) -> None:
        # Request ids are random, so the records after this one are a random sample: no index by time and no periodic
        # task.
        near = await self._tx.page(Request, self._key, _SWEPT) or await self._tx.page(Request, "", _SWEPT)
        for request in near:
            if self._now - request.create_time > KEPT:
                await self._tx.delete(request)


async def recall(store: Store, kind: type[R], request: Request) -> tuple[R, bool]:
    """The result of an earlier request, in its present state or as the request left it, and whether it was deleted.

    Raises NotFound if it was deleted and the log does not reach back far enough.
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
    raise NotFound(f"{request.result_kind} {request.result_name} was made by this request, but is gone")
