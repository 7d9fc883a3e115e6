"""The agents that are connected to other servers (gateway.ports.AgentsElsewhere)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from netvps.api.v1 import mesh_pb2 as pb
from netvps.errors import TimedOut
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.tunnel import frame_from_proto, frame_to_proto
from netvps.rpc.mesh.dial_start import start_to_proto

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from netvps.domain.tunnel import DialTarget, Frame
    from netvps.rpc.mesh.mesh import Mesh, Peer

_OPENED_WITHIN: Final = 20.0
"""Seconds; longer than the other server waits for its agent."""


class MeshAgents:
    """Opens connections through the server that has the agent."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def dial(
        self, session_uid: str, target: DialTarget, origin: str, outgoing: AsyncIterator[Frame]
    ) -> AsyncGenerator[Frame, None] | None:
        """As in the Protocol."""
        peer = await self._mesh.find(pb.FindConnectionRequest(session_uid=session_uid))
        if peer is None:
            return None
        call: Any = peer.stub.DialSession(
            _requests(start_to_proto(session_uid, target, origin), outgoing), metadata=peer.metadata
        )
        try:
            async with asyncio.timeout(_OPENED_WITHIN):
                await call.read()  # "opened", or the error
        except grpc.RpcError as failed:
            call.cancel()
            self._mesh.forget(session_uid)
            raise peer.error(failed) from None
        except TimeoutError:
            call.cancel()
            raise TimedOut(f"the server at {peer.endpoint.address} did not open the connection: try again") from None
        except BaseException:
            call.cancel()
            raise
        return _frames(call, peer)


async def _requests(
    start: pb.DialSessionRequest, outgoing: AsyncIterator[Frame]
) -> AsyncIterator[pb.DialSessionRequest]:
    yield start
    async with closing(outgoing):
        async for frame in outgoing:
            yield pb.DialSessionRequest(frame=frame_to_proto(frame))


async def _frames(call: Any, peer: Peer) -> AsyncGenerator[Frame, None]:
    try:
        while (message := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            yield frame_from_proto(message.frame)
    except grpc.RpcError as failed:
        raise peer.error(failed) from None
    finally:
        call.cancel()
