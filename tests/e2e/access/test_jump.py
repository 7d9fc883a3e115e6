"""`ssh -J` to sessions of a running netvps: real agents with their certified host keys, and stock OpenSSH."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from netvps.process.account import user_name
from tests.e2e.documents.printed import plain_ssh
from tests.e2e.system import Account, Answer, System

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module")
def system(ui_system: System) -> System:
    ui_system.netvps("config-ssh")
    return ui_system


def _run(person: Account, program: str, *words: str | Path, **options: object) -> Answer:
    """A program of OpenSSH with what config-ssh wrote, which asks nothing."""
    return person.run(program, *plain_ssh(person), *words, **({"stdin": subprocess.DEVNULL} | options))  # type: ignore[arg-type]


def _host(name: str = "dev1") -> str:
    return f"{name}.{user_name()}.nv.internal"


def test_it_asks_nothing_and_says_nothing(system: System) -> None:
    answer = _run(system, "ssh", _host(), "echo in; exit 3", check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, b"in\n", b"")


def test_the_host_key_is_the_sessions_own(system: System) -> None:
    answer = _run(system, "ssh", "-v", _host(), "cat /.netvps/host*/*.pub /.netvps/*.pub 2>/dev/null; true")
    assert b"Server host certificate: ssh-ed25519-cert-v01@openssh.com" in answer.stderr
    assert b"host:" in answer.stderr


def test_files_go_both_ways(system: System, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(20 << 20))
    _run(system, "scp", sent, f"{_host()}:/root/jumped")
    _run(system, "scp", f"{_host()}:/root/jumped", tmp_path / "back")
    hashes = {hashlib.sha256(file.read_bytes()).digest() for file in (sent, tmp_path / "back")}
    assert len(hashes) == 1


def test_a_stopped_session_and_one_of_another_owner_are_explained(system: System) -> None:
    words = ("-o", f"UserKnownHostsFile={system.home}/none", "-o", "StrictHostKeyChecking=no")
    said = [
        _run(system, "ssh", *words, "-J", "netvps-local", f"root@{name}", "true", check=False).stderr
        for name in ("nosuch", "dev1.another")
    ]
    assert b"session nosuch is not open to you" in said[0]
    assert said[1].replace(b"dev1.another", b"nosuch") == said[0]
    system.netvps("create", "halted")
    system.netvps("stop", "halted")
    answer = _run(system, "ssh", _host("halted"), "true", check=False)
    assert answer.returncode == 255
    assert b"a person stopped it, so only a login with a terminal starts it" in answer.stderr
    assert b"start it with: netvps start halted, or log in as wake+halted" in answer.stderr
    system.netvps("rm", "--yes", "halted")


def test_a_signed_key_logs_in_where_netvps_is_not_installed(system: System, tmp_path: Path) -> None:
    """Both ways, with the two lines of known_hosts, and nothing registered."""
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    system.netvps("cert", tmp_path / "key.pub")
    (tmp_path / "known_hosts").write_bytes(system.netvps("cert", "--known-hosts").stdout)
    config = tmp_path / "config"
    config.write_text(
        f"""Host gw
  HostName 127.0.0.1
  Port {system.ports["ssh"]}
Host *
  IdentityFile {tmp_path}/key
  IdentitiesOnly yes
  UserKnownHostsFile {tmp_path}/known_hosts
  StrictHostKeyChecking yes
"""
    )
    for words in (("dev1@gw",), ("-J", "_netvps@gw", f"root@{_host()}")):
        answer = system.run("ssh", "-F", config, "-o", "BatchMode=yes", *words, "echo in", stdin=subprocess.DEVNULL)
        assert answer.stdout == b"in\n"


def test_a_removed_key_ends_the_connection(system: System, tmp_path: Path) -> None:
    other = tmp_path / "other"
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
    system.netvps("key", "add", f"{other}.pub")
    config = tmp_path / "config"
    own = (system.home / ".ssh/netvps/config").read_text().splitlines()
    config.write_text("\n".join(f"  IdentityFile {other}" if "IdentityFile" in line else line for line in own))
    argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", _host(), "echo in; sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=system.full_environment()) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"in\n"
        fingerprint = system.run("ssh-keygen", "-lf", f"{other}.pub").stdout.decode().split()[1]
        system.netvps("key", "rm", fingerprint)
        assert ssh.wait(timeout=20) == 255
