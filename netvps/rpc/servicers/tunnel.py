"""TunnelService: passes frames on to the gateway and stores nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from netvps.api.v1 import tunnel_pb2 as pb
from netvps.api.v1.tunnel_pb2_grpc import TunnelServiceServicer
from netvps.domain.access.identity import SessionIdentity
from netvps.errors import NotPermitted
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.tunnel import (
    frame_from_proto,
    frame_to_proto,
    from_agent_from_proto,
    hello_from_proto,
    open_from_proto,
    to_agent_to_proto,
)
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.tunnel import Frame, FromAgent
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.ports import Tunnels


class TunnelServicer(TunnelServiceServicer):
    """Verifies an agent's identity; the gateway does the rest."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def Control(
        self, request_iterator: AsyncIterator[pb.ControlRequest], context: Context
    ) -> AsyncIterator[pb.ControlResponse]:
        who = identity.session()
        hello = hello_from_proto(await anext(request_iterator, pb.ControlRequest()))
        if who != SessionIdentity(hello.session_uid, hello.epoch):
            raise NotPermitted(
                f"hello is of session {hello.session_uid} epoch {hello.epoch}, but the certificate is {who}"
            )
        messages = self._tunnels.control(hello, _from_agent(request_iterator))
        async with closing(messages):
            async for message in messages:
                yield to_agent_to_proto(message)

    async def DialBack(
        self, request_iterator: AsyncIterator[pb.DialBackRequest], context: Context
    ) -> AsyncIterator[pb.DialBackResponse]:
        who = identity.session()
        dial_id = open_from_proto(await anext(request_iterator, pb.DialBackRequest()))
        frames = self._tunnels.dial_back(who.uid, dial_id, _frames(request_iterator))
        async with closing(frames):
            async for frame in frames:
                yield frame_to_proto(frame)


async def _from_agent(messages: AsyncIterator[pb.ControlRequest]) -> AsyncIterator[FromAgent]:
    async for message in messages:
        yield from_agent_from_proto(message, datetime.now(UTC))


async def _frames(messages: AsyncIterator[pb.DialBackRequest]) -> AsyncIterator[Frame]:
    async for message in messages:
        yield frame_from_proto(message)
