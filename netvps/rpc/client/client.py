"""The API for Python programs, synchronous: domain values in and out, errors from netvps.errors.

Every command of the CLI imports it, so it depends only on grpc, protobuf and small modules of netvps.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Self

from netvps.domain.session.event import EventType, SessionEvent
from netvps.errors import TimedOut, TooOld, Unavailable
from netvps.rpc.client.calls.all import Calls
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.leasing import Leasing
from netvps.rpc.client.transport import UNARY_TIMEOUT, Transport
from netvps.rpc.client.watching import ATTEMPTS, Waiting, Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from netvps.domain.image.image import ImageProgress, ImageView
    from netvps.domain.image.work import ImageLog
    from netvps.domain.server import ServerInfo
    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand
    from netvps.domain.session.session import Session, SessionState
    from netvps.domain.snapshot.snapshot import Snapshot, SnapshotDraft
    from netvps.rpc.client.watching import WatchEvent

__all__ = ["Client", "Endpoint", "EventType", "SessionEvent", "fetch_server_info"]


def fetch_server_info(address: str) -> ServerInfo:
    """As netvps.rpc.client.trust.fetch_server_info. Imported on demand, because it imports ssl."""
    from netvps.rpc.client import trust

    return trust.fetch_server_info(address)


class Client(Leasing, Calls):
    """A connection to one server, opened at the first call. A context manager; threads may share it.

    Sessions are named NAME or NAME.OWNER, users NAME or "me", runners NAME. Each mutation gets its own request id, so
    that a retry after a lost answer has no second effect. Raises the errors that the server reports; also Unavailable,
    TimedOut and Unauthenticated if the server cannot be reached or trusted.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = UNARY_TIMEOUT) -> None:
        """`timeout` is in seconds, for each unary call with its retries."""
        self.transport: Transport = Transport(endpoint, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and all streams. Idempotent."""
        self.transport.close()

    def exec(self, start: ExecStart, incoming: Iterator[ToCommand]) -> Generator[FromCommand, None, None]:
        """Runs a command. `incoming` is read on another thread and may block. Exit comes last. Never retried."""
        from netvps.rpc.client.calls.sessions import EXEC, exec_input, exec_start
        from netvps.rpc.convert.session.exec import output_from_proto

        def requests() -> Iterator[object]:
            yield exec_start(start)
            for message in incoming:
                yield from exec_input(message)

        method, response = EXEC
        return self.transport.duplex(method, requests(), response, output_from_proto)

    def build_image(
        self, runner: str, name: str, tag: str, dockerfile: str, context: Iterator[bytes]
    ) -> Generator[ImageProgress | ImageLog | ImageView, None, None]:
        """Builds an environment from the pieces of a context, a tar archive, which are read on another thread.

        Yields what the builder says and progress, then the image. Closing it ends the build. Never retried.
        """
        from netvps.rpc.client.calls.images import BUILD, build_piece, build_start
        from netvps.rpc.convert.images import made_from_proto

        def requests() -> Iterator[object]:
            yield build_start(runner, name, tag, dockerfile)
            for piece in context:
                yield from build_piece(piece)

        method, response = BUILD
        return self.transport.duplex(method, requests(), response, made_from_proto)

    def import_snapshot(self, session: str, draft: SnapshotDraft, archive: Iterator[bytes]) -> Snapshot:
        """Makes a snapshot from the pieces of a portable archive, which are read on another thread. Never retried.

        Raises InvalidInput if it is no such archive or not a safe one, and DataLoss if it is damaged.
        """
        from netvps.rpc.client.calls.snapshots import IMPORT, import_piece, import_start
        from netvps.rpc.convert.session.snapshots import snapshot_from_proto

        def requests() -> Iterator[object]:
            yield import_start(session, draft)
            for piece in archive:
                yield from import_piece(piece)

        method, response = IMPORT
        with closing(self.transport.duplex(method, requests(), response, snapshot_from_proto)) as answers:
            return next(answers)

    def watch(
        self,
        parent: str = "",
        from_revision: int = 0,
        *,
        known: Iterable[Session] = (),
        attempts: int | None = ATTEMPTS,
        timeout: float | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> Generator[WatchEvent, None, None]:
        """As watch_sessions, but resumes by itself after every break, where it was.

        Yields Interrupted after a break, and Reset where resuming is not possible: then the list comes again, with a
        DELETED for each session that came before, or is `known`, and is gone. `pause` waits for some seconds; the watch
        ends if it returns something true. Raises Unavailable after `attempts` in a row that came to nothing (None: it
        never gives up), and TimedOut after `timeout` seconds.
        """
        state = Watching(from_revision, known, attempts)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            error: TooOld | Unavailable | None = None
            try:
                with closing(self.watch_sessions(parent, state.begin(), timeout=left)) as events:
                    for event in events:
                        yield from state.apply(event)
            except (TooOld, Unavailable) as failure:
                error = failure
            broken, seconds = state.broke(error)
            yield broken
            if pause(seconds):
                return

    def wait(self, name: str, goal: SessionState | Callable[[Session], bool], timeout: float) -> Session:
        """The session once it is in a state, or fulfils a condition. `timeout` is in seconds.

        Raises TimedOut, NotFound if it is removed meanwhile, and WrongState if it fails on the way to a state.
        """
        session = self.get_session(name)
        waiting = Waiting(session, goal, timeout)
        if found := waiting.reached():
            return found
        try:
            with closing(self.watch(session.owner, session.revision, known=[session], timeout=timeout)) as events:
                for event in events:
                    if found := waiting.apply(event):
                        return found
        except TimedOut:
            pass
        raise waiting.timed_out()
