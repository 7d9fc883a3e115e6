"""The composition root in this process, and a runner's link to it: join, connect, renew."""

from __future__ import annotations

import asyncio
import gc
import socket
import sqlite3
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from netvps.adapters.ca.client_key import new_key, signing_request, uri_of, validity
from netvps.adapters.store import open_store
from netvps.api.v1 import session_pb2, session_spec_pb2
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.domain.overlay.netmap import NetmapUpdate
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.runner.runner import Capacity, CaughtUp, Heartbeat, Lease, RunnerHello, Underlay, Welcome
from netvps.domain.session.event import EventType
from netvps.domain.session.session import Assignment, SessionReport
from netvps.domain.session.spec import SessionSpec
from netvps.errors import ConfigError, Exhausted, NotFound, TooOld, Unavailable
from netvps.process import clock
from netvps.programs.wiring import control_plane
from netvps.programs.wiring.control_plane import build
from netvps.programs.wiring.identity import Identity, load_identity, save_identity
from netvps.programs.wiring.renewing_link import IdentityRefused, RenewingLink
from netvps.rpc.client.client import Client, Endpoint
from netvps.rpc.client.link_client import join
from netvps.settings import ServerSettings, load
from tests.support.patience import PATIENCE

HELLO = RunnerHello("instance-1", "0.1.0", Capacity(cpus=2))


@pytest.fixture
async def server(server_flags: dict[str, str]) -> AsyncIterator[ServerSettings]:
    """A control plane that listens."""
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        yield settings
        await plane.stop()


async def _join(server: ServerSettings, name: str) -> Identity:
    def token() -> str:
        with Client(Endpoint(f"unix:{server.paths.api_socket}")) as client:
            return client.create_join_token()[0]

    address, key = f"127.0.0.1:{server.api_port}", new_key()
    joined = await join(address, await asyncio.to_thread(token), signing_request(key), name)
    return Identity(joined.runner, key, joined.certificate, joined.ca_certificate, address, joined.link_address)


async def _nothing() -> AsyncIterator[SessionReport | Heartbeat]:
    await asyncio.Event().wait()
    yield Heartbeat(Capacity())


async def test_a_runner_joins_and_is_welcome(server: ServerSettings, tmp_path: Path) -> None:
    identity, connected = await _join(server, "box1"), asyncio.Event()
    assert identity.link == f"127.0.0.1:{server.link_port}"
    async with RenewingLink(identity, tmp_path, connected.set) as link:
        stream = link.connect(HELLO, _nothing())
        welcome = await anext(stream)
        assert isinstance(welcome, Welcome)
        assert welcome.runner == "box1"
        assert connected.is_set()
        assert link.is_connected
        assert {type(await anext(stream)) for _ in range(2)} == {CaughtUp, NetmapUpdate}
        await stream.aclose()
        assert not link.is_connected


async def test_a_runner_gets_the_certificate_of_an_agent(server: ServerSettings, tmp_path: Path) -> None:
    identity = await _join(server, "box1")
    address = f"unix:{server.paths.api_socket}"

    def create() -> str:
        with Client(Endpoint(address)) as client:
            return client.create_session("dev1", SessionSpec(image="debian:12")).uid

    async with RenewingLink(identity, tmp_path, lambda: None) as link:
        stream = link.connect(HELLO, _nothing())
        uid = await asyncio.to_thread(create)
        async for message in stream:
            if isinstance(message, Assignment):
                break
        credential = await link.agent_credential(uid, 1)
        with pytest.raises(NotFound):
            await link.agent_credential(uid, 99)
        await stream.aclose()
    assert uri_of(credential.certificate) == f"netvps://session/{uid}/epoch/1"
    assert signing_request(credential.key)
    assert credential.ca_certificate == identity.ca_certificate
    begin, end = validity(credential.certificate)
    assert (end - credential.renew_time) * 3 == end - begin


async def test_the_server_knows_a_runners_machine_by_the_device_that_is_there(
    server_flags: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"nv0": ""}
    monkeypatch.setattr(control_plane, "link_mac", lambda name: seen[name])
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        identity = await _join(settings, "box1")
        seen["nv0"] = device_mac(OverlaySettings(await plane.store.cluster_id()), identity.uid)
        async with RenewingLink(identity, tmp_path, lambda: None) as link:
            stream = link.connect(replace(HELLO, underlay=Underlay(("192.0.2.1",), 1450)), _nothing())
            gateway = False
            async with asyncio.timeout(PATIENCE):
                async for message in stream:
                    if isinstance(message, NetmapUpdate) and any(peer.gateway for peer in message.peers):
                        gateway = True
                        break
            await stream.aclose()
        assert gateway
        await plane.stop()


async def test_a_connection_that_is_dropped_is_said_so_and_the_next_one_works(
    server: ServerSettings, tmp_path: Path
) -> None:
    identity = await _join(server, "box1")
    async with RenewingLink(identity, tmp_path, lambda: None) as link:
        stream = link.connect(HELLO, _nothing())
        await anext(stream)
        await link.reopen()
        with pytest.raises(Unavailable, match="this machine's address changed"):
            async for _ in stream:
                pass
        again = link.connect(HELLO, _nothing())
        assert isinstance(await anext(again), Welcome)
        await again.aclose()


async def test_a_certificate_is_renewed_in_time_and_kept(server: ServerSettings, tmp_path: Path) -> None:
    identity = await _join(server, "box1")
    save_identity(tmp_path, identity)
    renewed = asyncio.Event()

    def late() -> datetime:
        """A clock at which a third of the life is left."""
        kept = load_identity(tmp_path)
        if kept != identity:
            renewed.set()
        return identity.renew_at + timedelta(seconds=1)

    async with RenewingLink(identity, tmp_path, lambda: None) as link, asyncio.TaskGroup() as group:
        keeping = group.create_task(link.keep_renewing(late))
        async with asyncio.timeout(PATIENCE):
            while (kept := load_identity(tmp_path)) == identity:
                await asyncio.sleep(0.05)
        keeping.cancel()
        assert kept is not None
        assert kept.certificate != identity.certificate
        assert validity(kept.certificate)[1] >= identity.end
        assert isinstance(await anext(link.connect(HELLO, _nothing())), Welcome)


async def test_a_certificate_that_has_ended_ends_the_program(server: ServerSettings, tmp_path: Path) -> None:
    identity = await _join(server, "box1")
    async with RenewingLink(identity, tmp_path, lambda: None) as link:
        with pytest.raises(ConfigError, match=r"valid from .* only: check this machine's clock"):
            await link.keep_renewing(lambda: identity.end)


async def test_a_runner_that_the_server_does_not_know_is_refused_for_good(
    server: ServerSettings, tmp_path: Path
) -> None:
    from netvps.adapters.ca.opening import open_ca
    from netvps.adapters.store.opening import open_store
    from netvps.domain.access.identity import RunnerIdentity

    known = await _join(server, "box1")
    async with open_store(server.database, clock.now) as store:
        ca = open_ca(server.paths.state / "ca", await store.cluster_id(), clock.now)
    certificate, _ = ca.sign_client(signing_request(known.key), RunnerIdentity(clock.new_uid()).uri, clock.now())
    stranger = Identity("ghost", known.key, certificate, known.ca_certificate, known.server, known.link)
    async with RenewingLink(stranger, tmp_path, lambda: None) as link:
        with pytest.raises(IdentityRefused):
            await anext(link.connect(HELLO, _nothing()))


async def test_a_watch_from_before_a_compaction_has_to_begin_again(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()

    def watch(from_revision: int) -> list[EventType]:
        """What comes up to CAUGHT_UP."""
        with Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
            seen = []
            for event in client.watch_sessions(from_revision=from_revision):
                seen.append(event.type)
                if event.type is EventType.CAUGHT_UP:
                    break
            return seen

    def create(number: int) -> None:
        with Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
            for name in range(number):
                client.create_session(f"dev{name}", SessionSpec(image="debian"))

    async with build(settings) as plane:
        await asyncio.to_thread(create, 5)
        async with plane.store.read() as view:
            revision = view.revision
        assert await plane.store.compact(4, 1 << 40) == revision - 4
        assert await plane.store.compact(4, 1 << 40) == 0  # bounded: what it keeps, it keeps
        with pytest.raises(TooOld, match="list again, then watch"):
            await asyncio.to_thread(watch, 1)
        assert (await asyncio.to_thread(watch, revision - 4))[-1] is EventType.CAUGHT_UP
        assert await asyncio.to_thread(watch, 0) == [EventType.PUT] * 5 + [EventType.CAUGHT_UP]
        await plane.stop()


async def test_calls_that_are_given_up_at_any_moment_lock_nothing(server: ServerSettings) -> None:
    """A deadline that passes cancels the call wherever it is. Garbage collection would hide what is left open."""
    address, file = f"unix:{server.paths.api_socket}", server.database.removeprefix("sqlite:///")
    reported: set[str] = set()

    async def call(stub: Any, number: int) -> None:
        spec = session_spec_pb2.SessionSpec(image="debian")
        request = session_pb2.CreateSessionRequest(session_id=f"dev{number}", request_id=str(number), spec=spec)
        with suppress(grpc.aio.AioRpcError):
            session = await stub.CreateSession(request, timeout=number / 10_000)
            reported.add(session.uid)

    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = SessionServiceStub(channel)
        gc.disable()
        try:
            for start in range(1, 300, 5):
                await asyncio.gather(*(call(stub, number) for number in range(start, start + 5)))
            # On a thread: calls that were given up may be at their end still, and the server needs the loop for that.
            await asyncio.to_thread(_lock, file)
        finally:
            gc.enable()
        await call(stub, 10**6)  # with all the time it needs
        there = await stub.ListSessions(session_pb2.ListSessionsRequest(page_size=1000))
    assert reported
    assert reported <= {session.uid for session in there.sessions}


def _lock(file: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")


@pytest.mark.netns
async def test_a_full_disk_is_reported_and_the_server_lives_on(server_flags: dict[str, str]) -> None:
    """Everything that was acknowledged is there; once there is room, it goes on."""
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    disk = settings.paths.state
    with small_disk(disk), Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(256 << 10))

        def create_many(names: list[str]) -> list[str]:
            """The names of those that were acknowledged, and at the end that of the error, if there was one."""
            done: list[str] = []
            for name in names:
                try:
                    client.create_session(name, SessionSpec(image="debian", labels={"x": "y" * 255}))
                except Exhausted as error:
                    return [*done, error.message]
                done.append(name)
            return done

        def listed() -> list[str]:
            return sorted(session.name for session in client.list_sessions())

        async with build(settings) as plane:
            *there, error = await asyncio.to_thread(create_many, [f"a{number:04}" for number in range(3000)])
            assert (
                error == f"database {disk}/netvps.db: the disk is full, nothing was changed; free space and try again"
            )
            assert await asyncio.to_thread(listed) == there
            ballast.unlink()
            assert await asyncio.to_thread(create_many, ["later"]) == ["later"]
            assert await asyncio.to_thread(listed) == [*there, "later"]
            await plane.stop()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts 2 MB there, as root may."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "netvps-test", folder], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=10)


async def test_a_pool_that_leaves_out_the_subnet_of_a_runner_is_refused(server_flags: dict[str, str]) -> None:
    for pool, refused in (("10.128.0.0/10", False), ("10.128.0.0/16", False), ("10.64.0.0/16", True)):
        settings = load(ServerSettings, server_flags | {"overlay_pool": pool})
        settings.paths.prepare()
        async with open_store(settings.database, clock.now) as store, store.write("test") as tx:
            await tx.put(Lease("10.128.0.0/22", "r1", 1))
        if refused:
            with pytest.raises(
                ConfigError, match=r"leaves out subnets that runners have \(10\.128\.0\.0/22\): set a pool"
            ):
                await build(settings).__aenter__()
        else:
            async with build(settings) as plane:
                await plane.stop()


async def test_a_lost_ca_is_not_recreated_under_runners_that_trust_it(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        await _join(settings, "box1")
        await plane.stop()
    (settings.paths.state / "ca").rename(settings.paths.state / "ca-gone")
    with pytest.raises(ConfigError, match="is missing, and the runners in the database trust its keys"):
        async with build(settings):
            pass


async def test_the_certificate_has_the_names_by_which_clients_reach_it(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags | {"public_name": "localhost,vps.example.org"})
    settings.paths.prepare()

    def names(ca: str, host: str) -> list[str]:
        context = ssl.create_default_context(cadata=ca)
        connection = socket.create_connection(("127.0.0.1", settings.api_port), 5)
        with context.wrap_socket(connection, server_hostname=host) as secure:
            certificate: dict[str, Any] = dict(secure.getpeercert() or {})
            return [str(name) for _, name in certificate["subjectAltName"]]

    async with build(settings) as plane:
        with Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
            info = await asyncio.to_thread(client.server_info)
        assert info.names == ("localhost", "vps.example.org", "127.0.0.1")
        for host in ("localhost", "127.0.0.1", "vps.example.org", "control.netvps.internal"):
            found = await asyncio.to_thread(names, info.ca_certificate, host)
            assert found == ["control.netvps.internal", "localhost", "vps.example.org", "127.0.0.1"]
        await plane.stop()
