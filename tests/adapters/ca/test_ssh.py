"""SSH certificates, as ssh-keygen and asyncssh see them."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.adapters.ca import Authority


def shown(certificate: str, folder: Path) -> list[str]:
    """What ssh-keygen prints of a certificate, line by line."""
    file = folder / "x-cert.pub"
    file.write_text(certificate + "\n")
    command = ["ssh-keygen", "-L", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env={"TZ": "UTC"})
    return [line.strip() for line in done.stdout.splitlines()]


def fingerprint(public_key: str) -> str:
    return asyncssh.import_public_key(public_key).get_fingerprint()


def period(start: datetime, end: datetime) -> str:
    return f"Valid: from {start:%Y-%m-%dT%H:%M:%S} to {end:%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-rsa"])
def test_a_user_certificate_lets_in_for_three_minutes(
    algorithm: str, ca: Authority, now: datetime, tmp_path: Path
) -> None:
    key = asyncssh.generate_private_key(algorithm).export_public_key().decode()
    lines = shown(ca.sign_ssh_user(key, ("0abc/root", "0abc/joe"), "alice", now), tmp_path)
    assert lines[1].endswith("user certificate")
    assert f"Signing CA: ED25519 {fingerprint(ca.ssh_user_ca)} (using ssh-ed25519)" in lines
    assert 'Key ID: "alice"' in lines
    assert period(now - timedelta(seconds=60), now + timedelta(seconds=120)) in lines
    assert lines[lines.index("Principals:") + 1 :] == [
        "0abc/root",
        "0abc/joe",
        "Critical Options: (none)",
        "Extensions:",
        "permit-agent-forwarding",
        "permit-port-forwarding",
        "permit-pty",
    ]


def test_a_host_certificate_is_good_for_ninety_days(ca: Authority, now: datetime, tmp_path: Path) -> None:
    lines = shown(ca.sign_ssh_host(ca.ssh_host_public_key, ("gw.example",), "gateway", now), tmp_path)
    assert lines[1].endswith("host certificate")
    assert f"Signing CA: ED25519 {fingerprint(ca.ssh_host_ca)} (using ssh-ed25519)" in lines
    assert period(now - timedelta(days=1), now + timedelta(days=90)) in lines
    assert lines[lines.index("Principals:") + 1 :] == ["gw.example", "Critical Options: (none)", "Extensions: (none)"]


def test_the_two_authorities_are_not_one(ca: Authority) -> None:
    assert len({ca.ssh_user_ca, ca.ssh_host_ca, ca.ssh_host_public_key}) == 3


async def test_openssh_certificates_work_in_a_real_login(ca: Authority, now: datetime) -> None:
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    user = ca.sign_ssh_user(user_key.export_public_key().decode(), ("dev",), "alice", now)
    host = ca.sign_ssh_host(ca.ssh_host_public_key, ("127.0.0.1",), "gateway", now)
    host_key = asyncssh.import_private_key(ca.ssh_host_key)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[(host_key, asyncssh.import_certificate(host))],
        authorized_client_keys=asyncssh.import_authorized_keys(f"cert-authority {ca.ssh_user_ca}"),
        process_factory=lambda process: process.exit(7),
    )
    async with server:
        client = (user_key, asyncssh.import_certificate(user))
        trusted = asyncssh.import_known_hosts(f"@cert-authority * {ca.ssh_host_ca}")
        options = {"known_hosts": trusted, "client_keys": [client], "config": None, "agent_path": None}
        async with asyncssh.connect("127.0.0.1", server.get_port(), username="dev", **options) as connection:
            assert (await connection.run("true")).exit_status == 7
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect("127.0.0.1", server.get_port(), username="other", **options)


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "hello", "ssh-ed25519 " + "A" * 20_000, "ü"])
def test_a_malformed_key_is_refused(key: str, ca: Authority, now: datetime) -> None:
    for sign in (ca.sign_ssh_user, ca.sign_ssh_host):
        with pytest.raises(InvalidInput, match=r"^public_key: "):
            sign(key, ("x",), "id", now)


def test_a_weak_key_is_refused(ca: Authority, now: datetime) -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    with pytest.raises(InvalidInput, match="not ECDSA, Ed25519, or RSA with at least 2048 bits"):
        ca.sign_ssh_user(weak.decode(), ("x",), "id", now)


@pytest.mark.parametrize("principals", [(), ("",), ("a", "")])
def test_a_certificate_for_everybody_is_refused(principals: tuple[str, ...], ca: Authority, now: datetime) -> None:
    for sign in (ca.sign_ssh_user, ca.sign_ssh_host):
        with pytest.raises(InvalidInput, match=r"^principals: "):
            sign(ca.ssh_host_public_key, principals, "id", now)
