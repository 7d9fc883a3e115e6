"""Answers requests for files of sessions and snapshots, a few at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Final

import structlog

from netvps.domain.snapshot.diff import DiffOrder
from netvps.domain.snapshot.exchange import BrowseOrder, ExportOrder, FilesAnswer, FilesRequest, ImportOrder
from netvps.domain.snapshot.steps import ready_result
from netvps.errors import Exhausted, NetvpsError, WrongState
from netvps.runner.browse.root import Root
from netvps.runner.browse.sftp import SftpServer
from netvps.runner.ports import Engine, Link

_MAX_AT_ONCE: Final = 8
_MAX_BROWSED: Final = 32
log = structlog.get_logger()


class SessionFiles:
    """Serves requests with an engine; None if no sessions run here."""

    def __init__(self, link: Link, engine: Engine | None) -> None:
        self._link = link
        self._engine = engine
        self.busy = 0
        """Number of requests that are being answered."""
        self.browsed = 0
        """Number of people who read snapshots, which may take hours, and most of the time does nothing."""

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
        if isinstance(request.work, BrowseOrder):
            async with aclosing(self._browse(self._engine, request.session_uid, request.work, incoming)) as pieces:
                async for piece in pieces:
                    yield piece
            return
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

    async def _browse(
        self, engine: Engine, session_uid: str, order: BrowseOrder, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        if self.browsed >= _MAX_BROWSED:
            raise Exhausted("many people read snapshots of this runner now; try again in a minute")
        root = Root(order.snapshots, partial(engine.browse, session_uid))
        self.browsed += 1
        try:
            async with aclosing(SftpServer(root).serve(incoming)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self.browsed -= 1
            root.close()
