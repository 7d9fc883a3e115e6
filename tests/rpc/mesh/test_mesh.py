"""Servers that call each other over real sockets with real certificates."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
import structlog

from netvps.adapters.ca.opening import open_ca
from netvps.api.v1 import mesh_pb2 as pb
from netvps.api.v1 import mesh_pb2_grpc
from netvps.domain.access.identity import RunnerIdentity, ServerIdentity
from netvps.domain.peer_server import PeerServer
from netvps.domain.runner.runner import LogRequest
from netvps.domain.tunnel import Eof, SshTarget
from netvps.errors import NotPermitted, Unavailable, WrongState
from netvps.rpc.client.channel import TLS_OPTIONS, Endpoint, channel_credentials
from netvps.rpc.client.failures import to_error
from netvps.rpc.mesh.addressee import OTHER_SERVER, addressed_to
from netvps.rpc.mesh.agents import MeshAgents
from netvps.rpc.mesh.mesh import Mesh
from netvps.rpc.mesh.passing import Passing
from netvps.rpc.mesh.runners import MeshRunners
from netvps.rpc.server.authenticators import Certificates
from netvps.rpc.server.call_audit import CallAudit
from netvps.rpc.server.listeners import Listener, tls
from netvps.rpc.server.open_calls import OpenCalls
from netvps.rpc.servicers.mesh import MeshServicer
from tests.rpc.site import now, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.adapters.ca.authority import Authority
    from netvps.domain.tunnel import Frame


@dataclass
class Server:
    """One of several, with what it heard."""

    mesh: Mesh
    heard: list[int]
    strangers: int = 0


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return open_ca(tmp_path / "ca", "test", now)


def uid_of(number: int) -> str:
    return f"{number:013}"


@asynccontextmanager
async def serving(ca: Authority, number: int) -> AsyncIterator[Server]:
    """A server that listens."""
    own, listens = ca.client_certificate(ServerIdentity(uid_of(number)).uri), ca.server_certificate(())
    credentials = channel_credentials(ca.certificate, own.certificate, own.key)
    heard: list[int] = []
    server = Server(Mesh(PeerServer(uid_of(number), ""), credentials, heard.append), heard)

    def stranger() -> None:
        server.strangers += 1

    server.mesh.on_stranger = stranger
    nothing = cast("Any", None)  # of a runner or a session is asked here
    served = MeshServicer(server.mesh, Passing(server.mesh), nothing, nothing, metrics=nothing, tunnels=nothing)
    register = partial(mesh_pb2_grpc.add_MeshServiceServicer_to_server, served)
    listener = Listener(
        "link",
        Certificates(),
        {"netvps.api.v1.MeshService": cast("Any", register)},
        OpenCalls(),
        CallAudit(cast("Any", None)),
        max_message=1 << 20,
        system=False,
    )
    port = listener.bind("127.0.0.1:0", tls(listens.certificate, listens.key, client_ca=ca.certificate))
    server.mesh.own = PeerServer(uid_of(number), f"127.0.0.1:{port}")
    await listener.start()
    try:
        async with server.mesh:
            yield server
    finally:
        await listener.stop(0)


async def test_a_nudge_reaches_all_others_with_the_last_revision(ca: Authority) -> None:
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(serving(ca, number)) for number in (1, 2, 3)]
        one.mesh.meet([two.mesh.own, three.mesh.own])
        await soon(lambda: two.strangers and three.strangers)
        two.mesh.meet([one.mesh.own])
        await soon(lambda: one.heard)
        assert not one.strangers
        for revision in range(1, 1000):
            one.mesh.nudge(revision)
        await soon(lambda: two.heard[-1] == three.heard[-1] == 999)
        assert len(two.heard) < 10


async def test_a_server_that_is_away_or_another_one_holds_up_no_other(ca: Authority) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(serving(ca, number)) for number in (1, 2)]
        with structlog.testing.capture_logs() as logs:
            gone = PeerServer(uid_of(8), "127.0.0.1:1")
            other = PeerServer(uid_of(9), two.mesh.own.address)  # that address is of server 2
            one.mesh.meet([two.mesh.own, gone, other])
            one.mesh.nudge(7)
            await soon(lambda: two.heard[-1:] == [7])
            await soon(lambda: len([entry for entry in logs if entry["log_level"] == "warning"]) == 2)
        remedies = {entry["server"]: entry["remedy"] for entry in logs if entry["log_level"] == "warning"}
        assert remedies == {
            gone.uid: "check the network between them",
            other.uid: "set --mesh-address there",
        }
        one.mesh.meet([])
        await asyncio.sleep(0)
        assert not one.mesh._peers


async def test_only_servers_nudge_and_only_the_one_that_they_mean(ca: Authority) -> None:
    async with serving(ca, 1) as one:

        async def nudge(uri: str, meant: str) -> None:
            pair = ca.client_certificate(uri)
            credentials = channel_credentials(ca.certificate, pair.certificate, pair.key)
            async with grpc.aio.secure_channel(one.mesh.own.address, credentials, TLS_OPTIONS) as channel:
                try:
                    stub = mesh_pb2_grpc.MeshServiceStub(channel)
                    await stub.Nudge(pb.NudgeRequest(revision=5), metadata=addressed_to(meant))
                except grpc.RpcError as error:
                    raise to_error(error, Endpoint(one.mesh.own.address)) from None

        with pytest.raises(NotPermitted, match="this call is for servers, not for runner"):
            await nudge(RunnerIdentity(uid_of(1)).uri, uid_of(1))
        with pytest.raises(WrongState, match=rf"this is server {uid_of(1)}, not '?{uid_of(2)}") as refused:
            await nudge(ServerIdentity(uid_of(3)).uri, uid_of(2))
        assert refused.value.reason == OTHER_SERVER
        assert not one.heard
        await nudge(ServerIdentity(uid_of(3)).uri, uid_of(1))
        assert one.heard == [5]


async def test_a_call_for_what_no_server_has_or_for_one_that_is_away_says_so(ca: Authority) -> None:
    """The other server is one that died: it is known until its lease ends."""
    async with serving(ca, 1) as one:
        runners, agents = MeshRunners(one.mesh), MeshAgents(one.mesh)
        assert not await runners.has("r1")
        with pytest.raises(Unavailable, match="no server that this one reaches: try again when netvps runner ls shows"):
            await runners.push("r1", LogRequest("s", "u", 1, follow=False))
        gone = PeerServer(uid_of(8), "127.0.0.1:1")
        one.mesh.meet([gone])
        assert await agents.dial("s1", SshTarget(), "alice@test", _nothing()) is None
        peer = one.mesh.peer(gone.uid)
        one.mesh._found |= {uid: (peer, float("inf")) for uid in ("r1", "s1")}
        with pytest.raises(Unavailable, match=r"the server at 127\.0\.0\.1:1 does not take the call"):
            await runners.probe("r1", ())
        with pytest.raises(Unavailable, match=r"the server at 127\.0\.0\.1:1 does not take the call"):
            await agents.dial("s1", SshTarget(), "alice@test", _nothing())
        assert not one.mesh._found
        with pytest.raises(Unavailable, match="does not know server"):
            one.mesh.peer(uid_of(9))
        assert one.strangers == 1


async def _nothing() -> AsyncIterator[Frame]:
    await asyncio.Event().wait()
    yield Eof()
