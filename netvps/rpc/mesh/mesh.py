"""The other servers of the database, each with a channel.

Nothing depends on it for being right: what a server misses here, it reads in the database within a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

import grpc
import grpc.aio
import structlog

from netvps.api.v1 import mesh_pb2 as pb
from netvps.api.v1.mesh_pb2_grpc import MeshServiceStub
from netvps.rpc.client.channel import TLS_OPTIONS, Endpoint
from netvps.rpc.client.failures import to_error
from netvps.rpc.mesh.addressee import OTHER_SERVER, addressed_to
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from netvps.domain.peer_server import PeerServer

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

    def __init__(
        self, own: PeerServer, credentials: grpc.ChannelCredentials, nudged: Callable[[int], None]
    ) -> None:  # fmt: skip
        """`credentials` are this server's as a client of the others; `nudged` takes the revisions that they commit."""
        self.own = own
        self.on_stranger: Callable[[], None] = lambda: None
        """Called when a server calls that is not known."""
        self._nudged = nudged
        self._credentials = credentials
        self._peers: dict[PeerServer, tuple[Peer, asyncio.Task[None]]] = {}
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

    def nudge(self, revision: int) -> None:
        """Says to all others that a revision was committed."""
        self._revision = revision
        for peer, _ in self._peers.values():
            peer.nudge(revision)
