from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from netvps.errors import ConfigError, Unauthenticated, Unavailable
from netvps.rpc.server import local_socket
from netvps.rpc.server.local_socket import MAX_PER_UID, LocalSocket, peer_uid, private_folder
from tests.rpc.site import open_site, soon

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rpc.site import Site

UNKNOWN_UID = 65534
ASK = """
import os, sys
from netvps.errors import NetvpsError
from netvps.rpc.client.client import Client, Endpoint
from netvps.rpc.convert import users  # now: another account may not be able to read this Python
os.setuid(int(sys.argv[2]))
with Client(Endpoint(sys.argv[1])) as client:
    try:
        print(client.get_user().name)
    except NetvpsError as error:
        print(type(error).__name__, error)
"""


def ask_as(site: Site, uid: int) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", ASK, site.local.address, str(uid)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return answer.stdout.strip()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@needs_root
async def test_another_account_gets_a_remedy(site: Site) -> None:
    import asyncio

    answer = await asyncio.to_thread(ask_as, site, UNKNOWN_UID)
    assert answer == (
        f"Unauthenticated your account (uid {UNKNOWN_UID}) is not known here: "
        "ask an admin for an API key, then: netvps login HOST"
    )


@needs_root
async def test_an_account_that_is_known_is_its_user() -> None:
    import asyncio

    async with open_site(local_users={0: "root", UNKNOWN_UID: "alice"}) as site:
        assert await asyncio.to_thread(ask_as, site, UNKNOWN_UID) == "alice"
        assert await asyncio.to_thread(ask_as, site, 0) == "root"


@needs_root
async def test_the_socket_behind_is_closed_to_others(site: Site) -> None:
    behind = site.folder / ".api.sock.grpc"
    assert behind.stat().st_mode & 0o777 == 0o700
    assert (site.folder / "api.sock").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize(
    ("peer", "uid"), [("unix-abstract:netvps/0/a1", 0), ("unix-abstract:netvps%2F1000%2Fff", 1000)]
)
def test_the_uid_is_in_the_peer(peer: str, uid: int) -> None:
    assert peer_uid(peer) == uid


@pytest.mark.parametrize(
    "peer", ["unix:", "unix:/run/x", "unix-abstract:netvps/0", "ipv4:127.0.0.1:1", "unix-abstract:netvps/-1/a"]
)
def test_any_other_peer_has_no_identity(peer: str) -> None:
    with pytest.raises(Unauthenticated):
        peer_uid(peer)


def test_a_peer_that_grpc_does_not_know_is_a_fault_that_passes_and_no_refusal() -> None:
    with pytest.raises(Unavailable, match="try again"):
        peer_uid("")


async def test_a_stale_socket_is_replaced_and_the_file_removed_at_the_end(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    front = LocalSocket(path, tmp_path / "behind")
    await front.claim()
    await front.start()
    assert path.is_socket()
    await front.close()
    await front.close()
    assert not path.exists()


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        await LocalSocket(path, tmp_path / "behind").claim()
    assert path.read_text() == "precious"


async def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".s.grpc").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="not a folder of this account only"):
        private_folder(tmp_path / "s")


async def test_a_server_that_is_slow_to_greet_is_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one behind a long way, or on a busy machine: a connection may take longer than a pause between two tries."""
    import asyncio

    front = site.server._local
    assert front is not None
    at_once = front._connect

    async def late(uid: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(1)
        return await at_once(uid)

    monkeypatch.setattr(front, "_connect", late)
    assert (await site.do(lambda client: client.get_user())).name == "root"


async def test_a_crowd_that_comes_at_once_is_let_in(site: Site) -> None:
    """No turn of the event loop accepts one before all have come."""
    path = str(site.folder / "api.sock")
    with ExitStack() as stack:
        for _ in range(MAX_PER_UID):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            one.connect(path)


async def test_connections_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(local_socket, "MAX_PER_UID", 2)
    path = str(site.folder / "api.sock")
    open_ones = [await asyncio.open_unix_connection(path) for _ in range(2)]
    front = site.server._local
    assert front is not None
    await soon(lambda: front._open.total() == 2)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    writer.close()
    for _, one in open_ones:
        one.close()
    await soon(lambda: front._open.total() == 0)
    assert (await site.do(lambda client: client.get_user())).name == "root"
