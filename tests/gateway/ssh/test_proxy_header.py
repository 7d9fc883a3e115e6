"""PROXY headers: as HAProxy sends them, in pieces, damaged, and from whom they count."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from pathlib import Path

import asyncssh
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.access.admission import Admission, Limits
from netvps.gateway.ssh import listener as ssh_listener
from netvps.gateway.ssh.proxy_header import MAX_SIZE, SIGNATURE, Balancers, HeaderError, ProxyHeader, parse_header
from tests.gateway.conftest import Sshd, World, a_world
from tests.support.patience import PATIENCE

ADDRESSES = st.ip_addresses().filter(lambda each: getattr(each, "ipv4_mapped", None) is None).map(str)
OPTION = b"\x04\x00\x02ok"  # of type NOOP
HEALTH_CHECK = SIGNATURE + b"\x20\x00\x00\x00"


def header(address: str, port: int, options: bytes = b"") -> bytes:
    source = ipaddress.ip_address(address)
    content = source.packed + bytes(len(source.packed)) + struct.pack("!HH", port, 2222) + options
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if source.version == 4 else 0x21, len(content)) + content


@given(ADDRESSES, st.integers(0, 65535), st.sampled_from([b"", OPTION, OPTION * 9]), st.binary(max_size=40))
def test_a_header_says_who_the_client_is(address: str, port: int, options: bytes, rest: bytes) -> None:
    sent = header(address, port, options)
    assert parse_header(sent + rest) == ProxyHeader(len(sent), (address, port))
    assert {parse_header(sent[:size]) for size in range(len(sent))} == {None}


@given(st.binary(max_size=64), st.booleans())
def test_anything_else_is_refused_or_incomplete(data: bytes, begun: bool) -> None:
    with contextlib.suppress(HeaderError):
        found = parse_header(SIGNATURE + data if begun else data)
        assert found is None or found.size <= MAX_SIZE


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        SIGNATURE + b"\x11\x11\x00\x0c",  # version 1 in the form of version 2
        SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),  # UDP
        SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),  # a Unix socket
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_for_tcp_is_refused(sent: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(sent)


def test_a_health_check_has_no_client_and_a_mapped_address_is_one_of_ipv4() -> None:
    assert parse_header(HEALTH_CHECK) == ProxyHeader(16, None)
    found = parse_header(header("::ffff:192.0.2.7", 5))
    assert found is not None
    assert found.client == ("192.0.2.7", 5)


def test_balancers_are_addresses_and_networks() -> None:
    balancers = Balancers.of(["192.0.2.0/28", "2001:db8::5"])
    assert "192.0.2.15" in balancers
    assert "2001:db8::5" in balancers
    assert not {"192.0.2.16", "2001:db8::6", "unknown"} & {
        each for each in ("192.0.2.16", "unknown") if each in balancers
    }
    assert "192.0.2.1" not in Balancers()


async def through(world: World, sent: bytes) -> asyncssh.SSHClientConnection:
    """Logs in on a connection that begins with these bytes, in two packets."""
    sock = socket.create_connection(("127.0.0.1", world.gateway.port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (sent[:9], sent[9:]):
        sock.sendall(piece)
        await asyncio.sleep(0)
    return await asyncssh.connect(
        sock=sock, username="dev1", client_keys=[str(world.key)], known_hosts=None, config=None
    )


async def answer(world: World, sent: bytes) -> bytes:
    """What the gateway sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def test_a_login_through_a_balancer_has_the_clients_address(sshd: Sshd, tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with a_world(sshd, tmp_path, balancers=Balancers.of(["127.0.0.0/8"])) as world:
            for address in ("198.51.100.9", "2001:db8::1"):
                async with await through(world, header(address, 4321)) as client:
                    assert (await client.run("echo in")).stdout == "in\n"
            async with await through(world, HEALTH_CHECK) as client:
                assert (await client.run("echo in")).stdout == "in\n"
    logins = [line["origin"] for line in lines if line["event"] == "ssh login"]
    assert logins[:2] == ["198.51.100.9:4321", "2001:db8::1:4321"]
    assert logins[2].startswith("127.0.0.1:")


async def test_limits_hold_for_each_client_behind_a_balancer(sshd: Sshd, tmp_path: Path) -> None:
    limits = Admission(Limits(handshakes=1))
    async with a_world(sshd, tmp_path, admission=limits, balancers=Balancers.of(["127.0.0.1"])) as world:
        failing = header("198.51.100.9", 1) + b"SSH-2.0-x\r\n" + bytes(40)
        answers = [await answer(world, failing) for _ in range(3)]
        assert answers[-1].startswith(b"Exceeded MaxStartups: ")
        async with await through(world, header("198.51.100.10", 1)) as client:
            assert (await client.run("echo in")).stdout == "in\n"


@pytest.mark.parametrize("sent", [b"SSH-2.0-x\r\n", b""])
async def test_a_balancer_without_headers_is_named_in_the_log(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(ssh_listener, "HEADER_SECONDS", 0.05)
    with structlog.testing.capture_logs() as lines:
        async with a_world(sshd, tmp_path, balancers=Balancers.of(["127.0.0.1"])) as world:
            assert await answer(world, sent) == b""
    (line,) = [line for line in lines if line["event"] == "ssh refused"]
    assert line["address"] == "127.0.0.1"
    assert "take it out of the setting ssh_balancers" in line["reason"]


async def test_a_header_from_anybody_else_is_not_read(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        await answer(world, header("198.51.100.9", 4321) + b"SSH-2.0-x\r\n")
    assert not [line for line in lines if "198.51.100.9" in str(line)]
