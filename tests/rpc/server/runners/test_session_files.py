"""Files that a runner carries to a caller, over real connections; so of netvps.rpc.convert.runner.files, too."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from netvps.domain.snapshot.diff import ChangeKind, Count, Diff, DiffOrder, DiffScope, FolderChange, PathChange
from netvps.domain.snapshot.exchange import BrowseOrder, ExportOrder, FilesRequest, ImportOrder
from netvps.domain.snapshot.snapshot import SnapshotDraft, SnapshotResult, SnapshotState
from netvps.errors import Exhausted, NotFound, Unavailable, WrongState
from netvps.rpc.client.async_client import AsyncClient
from netvps.rpc.server.runners import session_files
from tests.rpc.site import ALICE, hello, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from netvps.domain.snapshot.exchange import FilesAnswer
    from netvps.rpc.client.link_client import RunnerLink
    from tests.rpc.site import Site

DIFF = Diff(
    (
        PathChange("/a", ChangeKind.ADDED, 7),
        PathChange("/b", ChangeKind.REMOVED),
        PathChange("/c", ChangeKind.CHANGED, 1, excluded=True),
    ),
    (FolderChange("/", 2, 7),),
    Count(1, 7),
    Count(0, 0),
    Count(1, 0),
    Count(1, 1),
    incomplete=True,
)  # fmt: skip


class Answering:
    """A runner that answers requests for files with `work`."""

    def __init__(self, link: RunnerLink, work: Callable[[AsyncIterator[bytes]], AsyncIterator[FilesAnswer]]) -> None:
        self.link = link
        self.work = work
        self.requests: list[FilesRequest] = []

    async def run(self) -> None:
        async def silent() -> AsyncIterator[object]:
            await asyncio.Event().wait()
            yield None

        async with asyncio.TaskGroup() as group, aclosing(self.link.connect(hello(), silent())) as messages:  # type: ignore[arg-type, type-var]
            async for message in messages:
                if isinstance(message, FilesRequest):
                    self.requests.append(message)
                    group.create_task(self.link.carry_files(message.stream_id, self.work))


async def _compares(_: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
    yield DIFF


async def _fails(_: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
    raise WrongState("no files: start it", reason="NO_FILES")
    yield b""  # type: ignore[unreachable]


async def test_a_difference_comes_as_the_runner_found_it_and_so_does_its_error(site: Site) -> None:
    session = await site.running()
    alice = await site.remote("alice")
    async with site.link(site.machines[0]) as link, asyncio.TaskGroup() as group:
        runner = Answering(link, _compares)
        task = group.create_task(runner.run())
        await soon(lambda: site.server.runner_links)
        assert await site.do(lambda client: client.diff_session("dev1", max_paths=9, folder_depth=3), alice) == DIFF
        assert [(one.session_uid, one.work) for one in runner.requests] == [
            (session.uid, DiffOrder("", "", DiffScope(9, 3)))
        ]
        runner.work = _fails
        with pytest.raises(WrongState, match="no files: start it") as failed:
            await site.do(lambda client: client.diff_session("dev1"), alice)
        assert failed.value.reason == "NO_FILES"
        task.cancel()


async def test_a_runner_that_is_not_there_and_one_that_goes(site: Site) -> None:
    session = await site.running()
    files = site.server.files
    with pytest.raises(Unavailable, match="not connected"):
        async with files.open(session.runner, session.uid, DiffOrder("", "", DiffScope()), user="alice"):
            raise AssertionError
    waits = asyncio.Event()

    async def goes(_: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
        waits.set()
        await asyncio.Event().wait()
        yield b""

    async with asyncio.TaskGroup() as group, site.link(site.machines[0]) as link:
        task = group.create_task(Answering(link, goes).run())
        await soon(lambda: site.server.runner_links)
        work = DiffOrder("", "", DiffScope())
        async with (
            files.open(session.runner, session.uid, work, user="alice") as one,
            files.open(session.runner, session.uid, work, user="alice"),
        ):
            with pytest.raises(Exhausted, match="already"):
                async with files.open(session.runner, session.uid, work, user="alice"):
                    raise AssertionError
            await waits.wait()
            task.cancel()
            await link.__aexit__()
            with pytest.raises(Unavailable, match="disconnected"):
                [answer async for answer in one.answers()]
    assert files._exchanges == {}


async def test_a_stream_that_was_not_asked_for_is_refused(site: Site) -> None:
    await site.running()
    carried = session_files.StreamedFiles(site.server._streams).carry("r", "s", _compares(None))  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no caller waits"):
        await anext(carried)


async def test_an_archive_goes_out_and_comes_in(site: Site) -> None:
    session = await site.running()
    alice = await site.remote("alice")
    received: list[bytes] = []

    async def work(incoming: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
        order = runner.requests[-1].work
        if isinstance(order, ImportOrder):
            received.extend([piece async for piece in incoming])
            yield SnapshotResult(order.snapshot_uid, SnapshotState.READY, size_bytes=3, digest="sha256:x")
        elif isinstance(order, ExportOrder):
            for _ in range(40):
                yield b"x" * 65_536

    async with site.link(site.machines[0]) as link, asyncio.TaskGroup() as group:
        runner = Answering(link, work)
        task = group.create_task(runner.run())
        await soon(lambda: site.server.runner_links)
        whole = b"y" * 3_000_000
        made = await site.do(lambda client: client.import_snapshot("dev1", SnapshotDraft("in"), iter([whole])), alice)
        assert (made.full_name, made.state, made.cause, made.size_bytes) == ("dev1.alice/in", "READY", "IMPORT", 3)
        assert b"".join(received) == whole
        found = await site.do(lambda client: b"".join(client.export_snapshot("dev1", "in")), alice)
        assert found == b"x" * 65_536 * 40
        assert runner.requests[-1].work == ExportOrder(made.uid, "in", "dev1.alice")
        assert runner.requests[-1].session_uid == session.uid
        with pytest.raises(NotFound):
            await site.do(lambda client: list(client.export_snapshot("dev1", "none")), alice)
        task.cancel()


async def test_snapshots_are_read_by_requests_and_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_files, "MAX_BROWSED_PER_USER", 1)
    session, alice = await site.running(), await site.remote("alice")

    async def work(incoming: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
        async for piece in incoming:
            yield piece[::-1]

    async def requests(*all_of: bytes) -> AsyncIterator[bytes]:
        for one in all_of:
            yield one

    async with site.link(site.machines[0]) as link, asyncio.TaskGroup() as group:
        runner = Answering(link, work)
        task = group.create_task(runner.run())
        await soon(lambda: site.server.runner_links)
        async with AsyncClient(alice) as client:
            browse = client.browse_snapshots
            assert [one async for one in browse("dev1", requests(b"abc", b"de"))] == [b"cba", b"ed"]
            assert runner.requests[-1] == FilesRequest(runner.requests[-1].stream_id, session.uid, BrowseOrder(()))
            with pytest.raises(NotFound):
                await anext(browse("none", requests()))
            held = asyncio.Event()

            async def waiting() -> AsyncIterator[bytes]:
                yield b"x"
                await held.wait()

            async with aclosing(browse("dev1", waiting())) as first:
                assert await anext(first) == b"x"
                with pytest.raises(Exhausted, match="close some"):
                    await anext(browse("dev1", requests(b"x")))
                held.set()
        task.cancel()


async def test_an_import_ends_when_its_client_leaves(site: Site) -> None:
    await site.running()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(incoming: AsyncIterator[bytes]) -> AsyncIterator[FilesAnswer]:
        begun.set()
        try:
            async for _ in incoming:
                pass
        finally:
            ended.set()
        yield b""

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async with site.link(site.machines[0]) as link, asyncio.TaskGroup() as group:
        task = group.create_task(Answering(link, work).run())
        await soon(lambda: site.server.runner_links)
        async with AsyncClient(await site.remote("alice")) as client:
            call = asyncio.create_task(client.import_snapshot("dev1", SnapshotDraft("in"), endless()))
            await begun.wait()
            call.cancel()
            await asyncio.wait([call])
        await ended.wait()
        await soon(lambda: _gone(site))
        task.cancel()


async def _gone(site: Site) -> bool:
    return (await site.services.snapshots.list(ALICE, session="dev1")).items == []
