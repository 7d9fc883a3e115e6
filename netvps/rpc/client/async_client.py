"""The API for Python programs, on asyncio. The same calls as Client, awaited."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from netvps.errors import TooOld, Unavailable
from netvps.rpc.client.async_transport import AsyncTransport
from netvps.rpc.client.calls.all import Calls
from netvps.rpc.client.leasing import Leasing
from netvps.rpc.client.transport import UNARY_TIMEOUT
from netvps.rpc.client.watching import ATTEMPTS, Waiting, Watching

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from netvps.domain.image.image import ImageProgress, ImageView
    from netvps.domain.image.work import ImageLog
    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand
    from netvps.domain.session.session import Session, SessionState
    from netvps.domain.snapshot.snapshot import Snapshot, SnapshotDraft
    from netvps.rpc.client.channel import Endpoint
    from netvps.rpc.client.watching import WatchEvent


class AsyncClient(Leasing, Calls):
    """As Client, for one event loop, in which it is made. An async context manager."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = UNARY_TIMEOUT) -> None:
        """`timeout` is in seconds, for each unary call with its retries."""
        self.transport: AsyncTransport = AsyncTransport(endpoint, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection and all streams. Idempotent."""
        await self.transport.close()

    def exec(self, start: ExecStart, incoming: AsyncIterator[ToCommand]) -> AsyncGenerator[FromCommand, None]:
        """Runs a command. Exit comes last. Never retried."""
        from netvps.rpc.client.calls.sessions import EXEC, exec_input, exec_start
        from netvps.rpc.convert.session.exec import output_from_proto

        async def requests() -> AsyncIterator[object]:
            yield exec_start(start)
            async for message in incoming:
                for piece in exec_input(message):
                    yield piece

        method, response = EXEC
        return self.transport.duplex(method, requests(), response, output_from_proto)

    def build_image(
        self, runner: str, name: str, tag: str, dockerfile: str, context: AsyncIterator[bytes]
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """As Client.build_image."""
        from netvps.rpc.client.calls.images import BUILD, build_piece, build_start
        from netvps.rpc.convert.images import made_from_proto

        async def requests() -> AsyncIterator[object]:
            yield build_start(runner, name, tag, dockerfile)
            async for piece in context:
                for message in build_piece(piece):
                    yield message

        method, response = BUILD
        return self.transport.duplex(method, requests(), response, made_from_proto)

    async def import_snapshot(self, session: str, draft: SnapshotDraft, archive: AsyncIterator[bytes]) -> Snapshot:
        """As Client.import_snapshot."""
        from netvps.rpc.client.calls.snapshots import IMPORT, import_piece, import_start
        from netvps.rpc.convert.session.snapshots import snapshot_from_proto

        async def requests() -> AsyncIterator[object]:
            yield import_start(session, draft)
            async for piece in archive:
                for message in import_piece(piece):
                    yield message

        method, response = IMPORT
        async with aclosing(self.transport.duplex(method, requests(), response, snapshot_from_proto)) as answers:
            return await anext(answers)

    def browse_snapshots(self, session: str, incoming: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yields the answers of an SFTP server that shows a session's snapshots, to what comes in. Never retried."""
        from netvps.rpc.client.calls.snapshots import BROWSE, browse_piece, browse_start

        async def requests() -> AsyncIterator[object]:
            yield browse_start(session)
            async for data in incoming:
                for message in browse_piece(data):
                    yield message

        method, response = BROWSE
        return self.transport.duplex(method, requests(), response, lambda message: bytes(message.data))

    async def watch(
        self,
        parent: str = "",
        from_revision: int = 0,
        *,
        known: Iterable[Session] = (),
        attempts: int | None = ATTEMPTS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """As Client.watch; for a limit in time, use asyncio.timeout."""
        state = Watching(from_revision, known, attempts)
        while True:
            error: TooOld | Unavailable | None = None
            try:
                async with aclosing(self.watch_sessions(parent, state.begin())) as events:
                    async for event in events:
                        for each in state.apply(event):
                            yield each
            except (TooOld, Unavailable) as failure:
                error = failure
            broken, seconds = state.broke(error)
            yield broken
            await asyncio.sleep(seconds)

    async def wait(self, name: str, goal: SessionState | Callable[[Session], bool], timeout: float) -> Session:  # noqa: ASYNC109 — as Client.wait
        """As Client.wait."""
        session = await self.get_session(name)
        waiting = Waiting(session, goal, timeout)
        if found := waiting.reached():
            return found
        try:
            async with asyncio.timeout(timeout), aclosing(self.watch(session.owner, session.revision)) as events:
                async for event in events:
                    if found := waiting.apply(event):
                        return found
        except TimeoutError:
            pass
        raise waiting.timed_out()
