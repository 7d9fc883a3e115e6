"""Logins with a certificate of the server: stock ssh presents it, the gateway judges it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32, UInt64

from netvps.errors import NotPermitted
from netvps.gateway.ssh.user_certificate import certified_user
from tests.gateway.conftest import Ran, Sshd, World, a_world, new_key, run
from tests.gateway.ssh.test_pipe import Client, connect
from tests.support.patience import PATIENCE


def _sign(ca: asyncssh.SSHKey, key: Path, principals: list[str], **options: Any) -> None:
    certificate = ca.generate_user_certificate(
        asyncssh.read_private_key(str(key)),
        "test",
        principals=principals,
        **({"valid_after": "-1m", "valid_before": "+5m"} | options),
    )
    Path(f"{key}-cert.pub").write_bytes(certificate.export_certificate())


async def _log_in(world: World, ca: asyncssh.SSHKey, principals: list[str], **options: Any) -> Ran:
    key = new_key(world.folder / "ephemeral")
    _sign(ca, key, principals, **options)
    return await run(world.ssh("echo in", key=key, options=("-o", f"CertificateFile={key}-cert.pub")))


@pytest.mark.parametrize("apart", [False, True])
async def test_a_certificate_of_the_server_logs_in_with_no_registered_key(
    sshd: Sshd, tmp_path: Path, apart: bool
) -> None:
    async with a_world(sshd, tmp_path, apart=apart) as world:
        ran = await _log_in(world, world.authorizer.user_ca, ["users/alice"])
        assert (ran.code, ran.out) == (0, b"in\n"), ran.err
        assert b"netvps:" not in ran.err


async def test_a_user_without_that_session_hears_it(world: World) -> None:
    ran = await _log_in(world, world.authorizer.user_ca, ["users/bob"])
    assert ran.code == 255
    assert b"netvps: session dev1 is not open to user bob: `netvps ls` lists yours" in ran.err


BAD: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "nobody": ([], {}, "names no user"),
    "two": (["users/alice", "users/bob"], {}, "names no user"),
    "the gateway's own": (["0d1e2f3g4h5j6/root"], {}, "names no user"),
    "no name": (["users/"], {}, "names no user"),
    "a login": (["dev1"], {}, "names no user"),
    "no user's name": (["users/Al ice"], {}, "names no user"),
    "expired": (["users/alice"], {"valid_after": "-9m", "valid_before": "-1m"}, "expired by the gateway's clock ("),
    "early": (["users/alice"], {"valid_after": "+5m", "valid_before": "+9m"}, "not yet valid by the gateway's clock ("),
    "forced": (["users/alice"], {"force_command": "true"}, "has restrictions"),
    "elsewhere": (["users/alice"], {"source_address": ["192.0.2.1"]}, "has restrictions"),
}


@pytest.mark.parametrize("name", BAD)
async def test_any_other_certificate_is_refused_with_a_reason(world: World, name: str) -> None:
    principals, options, why = BAD[name]
    ran = await _log_in(world, world.authorizer.user_ca, principals, **options)
    assert ran.code == 255
    assert why in ran.err.decode()


async def test_a_certificate_of_another_authority_is_refused(world: World) -> None:
    ran = await _log_in(world, asyncssh.generate_private_key("ssh-ed25519"), ["users/alice"])
    assert ran.code == 255
    assert b"the certificate is from another CA" in ran.err


async def test_a_certificate_that_a_certificate_signed_is_refused(world: World) -> None:
    """Its CA's key is a certificate of the server's CA, for that key."""
    ca, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    own = world.authorizer.user_ca.generate_user_certificate(ca, "ca", principals=["users/alice"])
    name, whole = b"ssh-ed25519-cert-v01@openssh.com", (1 << 64) - 1
    public = key.public_data[-36:]  # with its length
    body = String(name) + String(bytes(32)) + public + UInt64(0) + UInt32(1) + String(b"test")
    body += String(String(b"users/alice")) + UInt64(0) + UInt64(whole) + 3 * String(b"") + String(own.public_data)
    blob = body + String(ca.sign(body, b"ssh-ed25519"))
    asked = String(b"dev1") + String(b"ssh-connection") + String(b"publickey")

    class Nesting(Client):
        def try_next_auth(self, *, next_method: bool = False) -> None:
            self.send_packet(50, asked + Boolean(False) + String(name) + String(blob))

    client = await connect(world, Nesting, client_keys=None, password="none")
    with pytest.raises(asyncssh.DisconnectError):
        await client._options.waiter  # type: ignore[misc]
    await client.wait_closed()
    assert not world.authorizer.asked


def test_a_host_certificate_is_no_users() -> None:
    ca, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = ca.generate_host_certificate(key, "test", principals=["users/alice"])
    with pytest.raises(NotPermitted):
        certified_user(certificate, ca.public_data, 0.0)


async def test_a_user_who_is_removed_loses_open_connections(world: World) -> None:
    key = new_key(world.folder / "ephemeral")
    _sign(world.authorizer.user_ca, key, ["users/alice"])
    pair = (asyncssh.read_private_key(str(key)), asyncssh.read_certificate(f"{key}-cert.pub"))
    async with asyncssh.connect(
        "127.0.0.1", world.gateway.port, username="dev1", client_keys=[pair], known_hosts=None, config=None
    ) as client:
        assert (await client.run("echo in")).stdout == "in\n"
        world.authorizer.change()
        assert (await client.run("echo still in")).stdout == "still in\n"
        world.authorizer.users.clear()
        world.authorizer.change()
        await asyncio.wait_for(client.wait_closed(), PATIENCE)
