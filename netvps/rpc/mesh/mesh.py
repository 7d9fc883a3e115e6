"""The other servers of the database, each with a channel.

Nothing depends on it for being right: what a server misses here, it reads in the database within a second.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

import grpc
import grpc.aio
import structlog

from netvps.api.v1 import mesh_pb2 as pb
from netvps.api.v1.mesh_pb2_grpc import MeshServiceStub
from netvps.errors import NetvpsError, Unavailable
from netvps.rpc.client.channel import TLS_OPTIONS, Endpoint
from netvps.rpc.client.failures import to_error
from netvps.rpc.mesh.addressee import OTHER_SERVER, addressed_to
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netvps.domain.peer_server import PeerServer

FIND_TIMEOUT: Final = 2.0
"""Seconds for the question who has a runner or an agent."""
_REMEMBERED: Final = 5.0
"""Seconds for which an answer is used again."""
_MAX_REMEMBERED: Final = 4096
NUDGES_A_SECOND: Final = 20
"""Maximum nudges to one server; the revisions in between are coalesced."""
_NUDGE_TIMEOUT: Final = 2.0
log = structlog.get_logger()


class Peer:
    """Another server."""

    def __init__(self, server: PeerServer, credentials: grpc.ChannelCredentials, revision: int) -> None:
        self.server = server
        self.endpoint = Endpoint(server.address)
        self.channel = grpc.aio.secure_channel(server.address, credentials, TLS_OPTIONS)
        self.stub = MeshServiceStub(self.channel)
        self.metadata = addressed_to(server.uid)
        self._revision = revision
        self._due = asyncio.Event()
        self._due.set()  # the first nudge also makes this server known there
        self._failed = False

    def nudge(self, revision: int) -> None:
        """Sends a revision soon."""
        self._revision = max(self._revision, revision)
        self._due.set()

    async def run(self) -> None:
        """Sends nudges until cancelled, then closes the channel."""
        async with self.channel:
            while True:
                await self._due.wait()
                self._due.clear()
                await self._nudge(pb.NudgeRequest(revision=self._revision))
                await asyncio.sleep(1 / NUDGES_A_SECOND)

    def error(self, failed: grpc.RpcError) -> NetvpsError:
        """The error behind a failed call, for a caller who does not know that there are other servers."""
        error = to_error(failed, self.endpoint)
        if error.reason in {"NO_SERVER", "OTHER_VERSION", "OTHER_CA", OTHER_SERVER}:
            return Unavailable(f"the server at {self.server.address} does not take the call: {error.message}")
        return error

    async def has(self, connected: pb.FindConnectionRequest) -> Peer | None:
        """Itself if a runner or agent is connected there; None if not, and if it does not answer."""
        try:
            answer = await self.stub.FindConnection(connected, timeout=FIND_TIMEOUT, metadata=self.metadata)
        except grpc.RpcError as failed:
            log.debug("a server does not answer", server=self.server.uid, error=str(to_error(failed, self.endpoint)))
            return None
        return self if answer.connected else None

    async def _nudge(self, request: pb.NudgeRequest) -> None:
        """Sends one. Of failures in a row, the first is logged."""
        try:
            await self.stub.Nudge(request, timeout=_NUDGE_TIMEOUT, metadata=self.metadata)
            failure = None
        except grpc.RpcError as failed:
            failure = to_error(failed, self.endpoint)
        if failure is not None and not self._failed:
            remedy = "set --mesh-address there" if failure.reason == OTHER_SERVER else "check the network between them"
            log.warning(
                "another server is not reached: it hears of changes within a second, and calls do not pass between the"
                " two",
                server=self.server.uid,
                address=self.server.address,
                error=failure.message,
                remedy=remedy,
            )
        self._failed = failure is not None


class Mesh:
    """All other servers. An async context manager; its end closes the channels."""

    def __init__(self, own: PeerServer, credentials: grpc.ChannelCredentials, nudged: Callable[[int], None]) -> None:
        """`credentials` are this server's as a client of the others; `nudged` takes the revisions that they commit."""
        self.own = own
        self.on_stranger: Callable[[], None] = lambda: None
        """Called when a server calls that is not known."""
        self._nudged = nudged
        self._credentials = credentials
        self._peers: dict[PeerServer, tuple[Peer, asyncio.Task[None]]] = {}
        self._found: dict[str, tuple[Peer, float]] = {}
        """Who has a runner or an agent, by its uid, and until when that is used; the oldest first."""
        self._revision = 0
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()

    def nudged(self, uid: str, revision: int) -> None:
        """Takes a nudge of another server."""
        if all(server.uid != uid for server in self._peers):
            self.on_stranger()
        self._nudged(revision)

    def meet(self, servers: Collection[PeerServer]) -> None:
        """Replaces the other servers."""
        for server in self._peers.keys() - set(servers):
            log.info("a server left", server=server.uid, address=server.address)
            self._peers.pop(server)[1].cancel()
        for server in sorted(set(servers) - self._peers.keys()):
            log.info("a server came", server=server.uid, address=server.address)
            peer = Peer(server, self._credentials, self._revision)
            self._peers[server] = peer, self._tasks.start(peer.run(), name=f"nudges to {server.address}")

    def peer(self, uid: str) -> Peer:
        """Another server. Raises Unavailable if it is not known (yet)."""
        for server, (peer, _) in self._peers.items():
            if server.uid == uid:
                return peer
        self.on_stranger()
        raise Unavailable(f"this server does not know server {uid}: try again")

    async def find(self, connected: pb.FindConnectionRequest) -> Peer | None:
        """The server that a runner or agent is connected to; None if none that answers has it."""
        uid: str = connected.runner_uid or connected.session_uid
        peer, until = self._found.get(uid, (None, 0.0))
        if peer is not None and until > time.monotonic() and peer.server in self._peers:
            return peer
        self.forget(uid)
        asked: list[asyncio.Task[Peer | None]] = [
            self._tasks.start(peer.has(connected), name=f"question to {server.address}")
            for server, (peer, _) in self._peers.items()
        ]
        try:
            for answer in asyncio.as_completed(asked):
                if (peer := await answer) is not None:
                    self._found[uid] = peer, time.monotonic() + _REMEMBERED
                    while len(self._found) > _MAX_REMEMBERED:
                        del self._found[next(iter(self._found))]
                    return peer
        finally:
            for question in asked:
                question.cancel()
        return None

    def forget(self, uid: str) -> None:
        """Asks again the next time: the server that was found has it no more, or is away."""
        self._found.pop(uid, None)

    def nudge(self, revision: int) -> None:
        """Says to all others that a revision was committed."""
        self._revision = revision
        for peer, _ in self._peers.values():
            peer.nudge(revision)
