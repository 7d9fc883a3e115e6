"""Requests for files, answered with an engine that is a fake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from netvps.domain.snapshot.diff import Diff, DiffOrder, DiffScope
from netvps.domain.snapshot.exchange import BrowseOrder, FilesRequest
from netvps.errors import Exhausted, NetvpsError, WrongState
from netvps.runner.session_files import SessionFiles
from tests.fakes.snapshots import OneFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from netvps.runner.ports import FilesServer

REQUEST = FilesRequest("s", "session", DiffOrder("", "", DiffScope()))


class Link:
    """Carries answers to a list, or the error."""

    def __init__(self) -> None:
        self.answers: list[object] = []

    async def carry_files(self, stream_id: str, work: FilesServer) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            for piece in list[bytes]():
                yield piece

        try:
            self.answers += [answer async for answer in work(nothing())]
        except NetvpsError as error:
            self.answers.append(type(error))


class Engine:
    """Compares once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def diff(self, session_uid: str, order: DiffOrder) -> Diff:
        await self.may.wait()
        return Diff()

    async def browse(self, session_uid: str, uid: str) -> OneFile:
        return OneFile()


def _files(link: Link, engine: Engine | None) -> SessionFiles:
    return SessionFiles(cast("Any", link), cast("Any", engine))


async def test_a_few_are_answered_at_once_and_more_are_refused() -> None:
    link, engine = Link(), Engine()
    files = _files(link, engine)
    async with asyncio.TaskGroup() as group:
        for _ in range(9):
            group.create_task(files.serve(REQUEST))
        while not link.answers:
            await asyncio.sleep(0)
        assert link.answers == [Exhausted]
        engine.may.set()
    assert link.answers == [Exhausted, *[Diff()] * 8]
    assert files.busy == 0


async def test_a_runner_without_sessions_says_so() -> None:
    link = Link()
    await _files(link, None).serve(REQUEST)
    assert link.answers == [WrongState]


async def test_many_people_read_snapshots_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.runner.session_files._MAX_BROWSED", 1)
    link = Link()
    files = _files(link, Engine())
    files.browsed = 1
    await files.serve(FilesRequest("s", "session", BrowseOrder(())))
    assert link.answers == [Exhausted]
    files.browsed = 0
    await files.serve(FilesRequest("s", "session", BrowseOrder(())))
    assert (link.answers, files.browsed) == ([Exhausted], 0)
