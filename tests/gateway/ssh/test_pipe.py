"""What the packet pipe stands on inside asyncssh; read netvps/gateway/ssh/pipe.py before changing a digest here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest
import uvloop
from asyncssh.connection import SSHClientConnection, SSHConnection, SSHServerConnection
from asyncssh.constants import MSG_DEBUG, MSG_IGNORE, MSG_UNIMPLEMENTED
from asyncssh.packet import Boolean, String, UInt32

from netvps.gateway.ssh import pipe as ssh_pipe
from netvps.gateway.ssh.pipe import MAX_TRIES, QUEUE_LIMIT, Downstream
from netvps.gateway.tunnel import dialer, overlay_stream
from tests.gateway.conftest import FakePlace, Sshd, World, a_world, run
from tests.gateway.ssh import test_gateway as a_gateway
from tests.support.patience import PATIENCE

DIGESTS = {
    "SSHConnection._recv_packet": "b3daa22e9763eee9",
    "SSHConnection._finish_recv_packet": "e12d96db58b3524e",
    "SSHConnection.send_packet": "fb9da7bec6dd395a",
    "SSHConnection._process_newkeys": "a0331fe3cfd09d0b",
    "SSHConnection._recv_data": "fc4e0735191bb0fd",
    "SSHConnection._recv_pkthdr": "7adc4d88fe20593c",
    "SSHConnection._send_deferred_packets": "c5ef8240853eb331",
    "SSHConnection.send_newkeys": "0b41234420373618",
    "SSHConnection._send_kexinit": "275ddc818b59f44b",
    "SSHConnection._cleanup": "ea4cd2aed57194e5",
    "SSHConnection._force_close": "264b4367525f4f86",
    "SSHConnection.connection_made": "e7b867af0f590a2c",
    "SSHConnection.data_received": "b2d14a83b2604db6",
    "SSHConnection.send_userauth_success": "812e749ee2432e4b",
    "SSHConnection.send_userauth_failure": "30f1eb63d0cb74c9",
    "SSHConnection._process_userauth_request": "9d1a0e42d15a1526",
    "SSHConnection._finish_userauth": "bd2146536318273d",
    "SSHServerConnection.validate_public_key": "eb5e224339282892",
    "SSHServerConnection._validate_client_public_key": "6a630986a3798084",
    "SSHServerConnection._validate_client_certificate": "a49c71b2c2c1f917",
    "SSHServerConnection._validate_openssh_certificate": "056062c844e4c716",
    "SSHServerConnection.send_auth_banner": "b923266645f45fde",
    "SSHServerConnection.reload_config": "d78b0be8399d5491",
    "SSHClientConnection._connection_made": "f777615b02719315",
}


def test_the_pin() -> None:
    assert asyncssh.__version__ == "2.24.1"


@pytest.mark.parametrize("name", DIGESTS)
def test_the_inside_is_as_it_was_read(name: str) -> None:
    classes = {kind.__name__: kind for kind in (SSHConnection, SSHClientConnection, SSHServerConnection)}
    owner, _, attribute = name.partition(".")
    method: Callable[..., Any] = classes[owner].__dict__[attribute]
    found = hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16]
    assert found == DIGESTS[name], f"{name} changed: read it, then see whether ssh_pipe.py still holds"


class Client(asyncssh.SSHClientConnection):
    """A client that may say anything at any time."""

    def say(self, kind: int, *args: bytes) -> None:
        done, self._auth_complete = self._auth_complete, True
        self.send_packet(kind, *args)
        self._auth_complete = done


async def connect(world: World, kind: type[Client], **options: Any) -> Client:
    loop = asyncio.get_running_loop()
    made = await asyncssh.SSHClientConnectionOptions.construct(
        config=None, host="127.0.0.1", username="dev1", known_hosts=None, agent_path=None, gss_host=None, **options
    )
    made.waiter = loop.create_future()
    _, client = await loop.create_connection(lambda: kind(loop, made, wait="auth"), "127.0.0.1", world.gateway.port)
    return client


@pytest.mark.parametrize("message", [80, 90, 94, 98, 192])
async def test_no_message_of_the_connection_passes_before_authentication(world: World, message: int) -> None:
    class Early(Client):
        def try_next_auth(self, *, next_method: bool = False) -> None:
            self.say(message, UInt32(0), String(b"x"), Boolean(True))

    client = await connect(world, Early, client_keys=None, password="none")
    with pytest.raises(asyncssh.ProtocolError, match="before authentication was complete"):
        await client._options.waiter  # type: ignore[misc]
    await client.wait_closed()
    assert not world.agent.requests


async def test_what_comes_before_the_session_is_there_waits_up_to_a_limit(world: World) -> None:
    world.agent.mute = True
    client = await connect(world, Client, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    for _ in range(QUEUE_LIMIT // 1024 - 1):
        client.send_packet(80, String(b"x" * 1000), Boolean(False))
    (connection,) = world.gateway._connections
    await world.agent.until(lambda: len(connection.downstream._queue) == QUEUE_LIMIT // 1024 - 1)
    assert not client.is_closed()
    for _ in range(9):
        client.send_packet(80, String(b"x" * 1000), Boolean(False))
    async with asyncio.timeout(PATIENCE):
        await client.wait_closed()


async def test_messages_are_acknowledged_at_once_until_the_login(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spy:
        family = socket.AF_INET
        reported: ClassVar[list[tuple[int, int, int]]] = []

        def setsockopt(self, level: int, option: int, value: int) -> None:
            self.reported.append((level, option, value))

    real = Downstream.get_extra_info

    def spied(leg: Downstream, name: str, default: object = None) -> object:
        return Spy() if name == "socket" else real(leg, name, default)

    monkeypatch.setattr(Downstream, "get_extra_info", spied)
    world.agent.mute = True
    client = await connect(world, Client, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    before = Spy.reported.count((socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1))
    assert before > 2  # its version, its keys, its request for a login
    client.send_packet(80, String(b"x"), Boolean(False))
    (connection,) = world.gateway._connections
    await world.agent.until(lambda: bool(connection.downstream._queue))
    assert Spy.reported.count((socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)) == before
    client.abort()


async def test_tries_are_counted_as_sshd_counts_them(world: World) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(MAX_TRIES + 2)]
    client = await connect(world, Client, client_keys=keys)
    with pytest.raises(asyncssh.DisconnectError, match="Too many authentication failures"):
        await client._options.waiter  # type: ignore[misc]
    await client.wait_closed()
    assert len(world.authorizer.asked) == MAX_TRIES + 1


@pytest.mark.parametrize(("algorithm", "accepted"), [("rsa-sha2-256", True), ("ssh-rsa", False)])
async def test_rsa_with_sha1_is_refused_with_a_reason(world: World, algorithm: str, accepted: bool) -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    world.authorizer.keys[key.get_fingerprint()] = "alice"
    banners: list[str] = []

    class Client(asyncssh.SSHClient):
        def connection_made(self, conn: SSHClientConnection) -> None:
            conn._server_sig_algs = set()  # what an old client does not read

        def auth_banner_received(self, msg: str, lang: str) -> None:
            banners.append(msg)

    async def log_in() -> None:
        key.sig_algorithms = (algorithm.encode(),)
        connecting = asyncssh.connect(
            "127.0.0.1",
            world.gateway.port,
            username="dev1",
            client_keys=[key],
            client_factory=Client,
            signature_algs=[algorithm],
            known_hosts=None,
            config=None,
        )
        async with connecting as client:
            assert (await client.run("echo in")).stdout == "in\n"

    if accepted:
        await log_in()
        assert banners == []
    else:
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in()
        assert "RSA and SHA-1 is refused" in banners[0]


async def test_dsa_is_refused(world: World) -> None:
    key = asyncssh.generate_private_key("ssh-dss")
    world.authorizer.keys[key.get_fingerprint()] = "alice"
    options: Any = {"username": "dev1", "client_keys": [key], "known_hosts": None, "config": None}
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect("127.0.0.1", world.gateway.port, signature_algs=["ssh-dss"], **options)
    assert not world.agent.requests


async def test_host_keys_of_the_agent_do_not_reach_the_client(world: World) -> None:
    heard: list[bytes] = []

    class Listening(Client):
        def process_packet(self, pkttype: int, pktid: int, packet: Any) -> Any:
            if pkttype == 80:
                heard.append(packet.get_full_payload())
            return super().process_packet(pkttype, pktid, packet)

    client = await connect(world, Listening, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    assert (await client.run("true")).exit_status == 0
    assert heard == []
    client.abort()
    await client.wait_closed()


async def test_a_peer_that_never_ends_a_key_exchange_stalls_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(Client):
        async def _process_kexinit(self, pkttype: int, pktid: int, packet: Any) -> None:
            if not self._auth_complete:
                await super()._process_kexinit(pkttype, pktid, packet)

    monkeypatch.setattr(ssh_pipe, "UNPACED_LIMIT", 4 << 20)
    client = await connect(world, Stubborn, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    process = await client.create_process("cat /dev/zero", encoding=None, window=64 << 20)
    await process.stdout.readexactly(1 << 20)
    (connection,) = world.gateway._connections
    connection.downstream._rekey_bytes = 1
    leg: Downstream = connection.downstream
    await world.agent.until(lambda: bool(leg._deferred_packets))
    await world.agent.until(lambda: connection.upstream is not None and connection.upstream._held)
    await asyncio.sleep(0.2)
    assert sum(len(args[0]) for _, args in leg._deferred_packets) < 2 << 20
    client.abort()
    await client.wait_closed()


async def test_a_window_of_a_gibibyte_and_no_reads_stall_the_session_alone(world: World) -> None:
    client = await connect(world, Client, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    await client.create_process("cat /dev/zero", encoding=None, window=1 << 30)
    client._transport.pause_reading()  # type: ignore[union-attr] # connected
    (connection,) = world.gateway._connections
    await world.agent.until(lambda: connection.upstream is not None and connection.upstream._held)
    transport = connection.downstream._transport
    assert transport is not None
    assert transport.get_write_buffer_size() < 4 << 20
    assert (await run(world.ssh("echo in"))).out == b"in\n"
    client.abort()
    await client.wait_closed()


def test_over_the_overlay_it_is_the_same_pipe(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a TCP connection instead of a stream of the tunnel, which is not served here; on the programs' loop."""
    monkeypatch.setattr(dialer, "connect", functools.partial(overlay_stream.connect, port=sshd.port))
    data = os.urandom(8 << 20)

    async def all_of_it() -> None:
        async with a_world(sshd, tmp_path, rekey_bytes=2 << 20, place=FakePlace()) as world:
            await world.agent.__aexit__()
            ran = await run(world.ssh("cat; exit 3"), data)
            assert (ran.code, ran.out == data) == (3, True)
            for same in (
                a_gateway.test_half_close,
                a_gateway.test_a_stalled_reader_stalls_the_sender_and_not_memory,
                a_gateway.test_a_stalled_session_stalls_the_client_and_not_memory,
            ):
                await world.agent.until(lambda: not world.gateway.connections)
                await same(world)
            ran = await run(world.ssh("kill -KILL $PPID; sleep 60"), timeout=20)
            assert (ran.code, b"session dev1 went away" in ran.err) == (255, True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_it())


async def stranger(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has exchanged versions, and no keys."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    await reader.readline()
    writer.write(b"SSH-2.0-test\r\n")
    return reader, writer


def plain(payload: bytes) -> bytes:
    """A packet as before the first key exchange."""
    padding = 16 - (len(payload) + 5) % 8
    return (len(payload) + padding + 1).to_bytes(4) + bytes([padding]) + payload + bytes(padding)


async def ended_with(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        said = bytearray()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(4096):
                said += piece
        return bytes(said)


@pytest.mark.parametrize("kind", [MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG])
async def test_messages_without_meaning_are_refused_before_the_first_keys(world: World, kind: int) -> None:
    reader, writer = await stranger(world)
    writer.write(plain(bytes([kind]) + bytes(5)))
    assert b"before the first key exchange" in await ended_with(reader)
    writer.close()


async def test_a_stranger_may_say_so_many_bytes(world: World) -> None:
    reader, writer = await stranger(world)
    writer.write((200_000).to_bytes(4) + b"\4" + bytes(ssh_pipe.LOGIN_BYTES))
    assert b"too much data before the login" in await ended_with(reader)
    writer.close()


async def test_a_stranger_may_send_so_many_messages(world: World) -> None:
    class Chatty(Client):
        def try_next_auth(self, *, next_method: bool = False) -> None:
            for _ in range(ssh_pipe.LOGIN_PACKETS):
                self.send_packet(MSG_DEBUG, Boolean(False), String(b""), String(b""))

    client = await connect(world, Chatty, client_keys=None, password="none")
    with pytest.raises(asyncssh.DisconnectError, match="too much data before the login"):
        await client._options.waiter  # type: ignore[misc]
    await client.wait_closed()


async def test_what_waits_for_the_session_is_bounded_in_number_too(world: World) -> None:
    world.agent.mute = True
    client = await connect(world, Client, client_keys=[str(world.key)])
    await client._options.waiter  # type: ignore[misc]
    for _ in range(ssh_pipe.QUEUE_MESSAGES + 1):
        client.send_packet(80)
    async with asyncio.timeout(PATIENCE):
        await client.wait_closed()
