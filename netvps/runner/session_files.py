"""Answers requests for files of sessions and snapshots, a few at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Final

import structlog

from netvps.domain.snapshot.diff import DiffOrder
from netvps.domain.snapshot.exchange import ExportOrder, FilesAnswer, FilesRequest, ImportOrder
from netvps.domain.snapshot.steps import ready_result
from netvps.errors import Exhausted, NetvpsError, WrongState
from netvps.runner.ports import Engine, Link

_MAX_AT_ONCE: Final = 8
log = structlog.get_logger()


class SessionFiles:
    """Serves requests with an engine; None if no sessions run here."""

    def __init__(self, link: Link, engine: Engine | None) -> None:
        self._link = link
        self._engine = engine
        self.busy = 0
        """Number of requests that are being answered."""

    async def serve(self, request: FilesRequest) -> None:
        """Answers one request. Never raises a NetvpsError: the caller gets it."""
        try:
            await self._link.carry_files(request.stream_id, partial(self._answers, request))
        except NetvpsError as error:
            log.info("files not sent", session=request.session_uid, error=error.message)

    async def _answers(
        self, request: FilesRequest, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[FilesAnswer, None]:
        if self._engine is None:
            raise WrongState("this runner runs no sessions")
        if self.busy >= _MAX_AT_ONCE:
            raise Exhausted("this runner compares or transfers many snapshots now; try again in a minute")
        self.busy += 1
        try:
            match request.work:
                case DiffOrder():
                    yield await self._engine.diff(request.session_uid, request.work)
                case ExportOrder():
                    async with aclosing(self._engine.export(request.session_uid, request.work)) as pieces:
                        async for piece in pieces:
                            yield piece
                case ImportOrder(uid):
                    yield ready_result(await self._engine.take_in(request.session_uid, uid, incoming))
        finally:
            self.busy -= 1
