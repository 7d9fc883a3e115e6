"""Agents over real mTLS, with generated stubs as the Go agent has them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from netvps.api.v1 import tunnel_pb2 as pb
from netvps.api.v1.tunnel_pb2_grpc import TunnelServiceStub
from netvps.domain.tunnel import ConfigApplied
from netvps.rpc.client.channel import TLS_OPTIONS, channel_credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rpc.site import Site

UID = "0123456789abc"


@asynccontextmanager
async def agent(site: Site, uri: str = f"netvps://session/{UID}/epoch/2") -> AsyncIterator[Any]:
    certificate, key = site.certificate_for(uri)
    credentials = channel_credentials(site.ca.certificate, certificate, key)
    async with grpc.aio.secure_channel(site.link_address, credentials, TLS_OPTIONS) as channel:
        yield TunnelServiceStub(channel)


def hello(uid: str = UID, epoch: int = 2) -> pb.ControlRequest:
    return pb.ControlRequest(hello=pb.AgentHello(session_uid=uid, epoch=epoch, version="1", host_key="k"))


async def test_control_passes_messages_both_ways(site: Site) -> None:
    async with agent(site) as stub:
        call = stub.Control()
        await call.write(hello())
        assert (await call.read()).dial.dial_id == "dial-1"
        await call.write(pb.ControlRequest(config_applied=3))
        assert (await call.read()).drain
        await call.done_writing()
        assert not await call.read()
    assert [(one.session_uid, one.epoch) for one in site.tunnels.hellos] == [(UID, 2)]
    assert site.tunnels.heard == [ConfigApplied(3)]


@pytest.mark.parametrize("wrong", [hello(epoch=3), hello(uid="1123456789abc")])
async def test_hello_must_be_what_the_certificate_says(site: Site, wrong: pb.ControlRequest) -> None:
    async with agent(site) as stub:
        call = stub.Control()
        await call.write(wrong)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert site.tunnels.hellos == []


async def test_a_connection_carries_bytes_and_its_end(site: Site) -> None:
    async with agent(site) as stub:
        call = stub.DialBack()
        await call.write(pb.DialBackRequest(open="dial-1"))
        await call.write(pb.DialBackRequest(data=b"x" * 262_144))
        assert (await call.read()).credit == 262_144
        assert (await call.read()).data == b"x" * 262_144
        await call.write(pb.DialBackRequest(eof=True))
        assert (await call.read()).eof
        assert not await call.read()


async def test_a_dial_that_was_not_requested_is_refused(site: Site) -> None:
    async with agent(site) as stub:
        call = stub.DialBack()
        await call.write(pb.DialBackRequest(open="guessed"))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_runner_has_no_tunnel(site: Site) -> None:
    async with agent(site, f"netvps://runner/{UID}") as stub:
        call = stub.Control(iter([hello()]))  # written by the call itself: the refusal may be there before it
        with pytest.raises(grpc.aio.AioRpcError, match="this call is for sessions"):
            await call.read()


async def test_a_connection_that_breaks_ends_the_gateways_side(site: Site) -> None:
    async with agent(site) as stub:
        call = stub.DialBack()
        await call.write(pb.DialBackRequest(open="dial-1"))
        await call.write(pb.DialBackRequest(data=b"x"))
        await call.read()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.read()


async def test_silent_streams_are_bounded_and_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over two connections, with certificates of two epochs: it is one session."""
    monkeypatch.setattr("netvps.rpc.server.interceptors.FIRST_MESSAGE_TIMEOUT", 1.0)
    monkeypatch.setattr("netvps.rpc.server.open_calls.SESSION_UNOPENED", 8)
    async with agent(site) as one, agent(site, f"netvps://session/{UID}/epoch/3") as other:
        calls = [stub.DialBack() for stub in (one, other) for _ in range(20)]
        codes = await asyncio.gather(*(call.code() for call in calls))
    assert Counter(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED: 32, grpc.StatusCode.DEADLINE_EXCEEDED: 8}
