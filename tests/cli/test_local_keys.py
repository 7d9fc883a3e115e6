"""The SSH keys of this person on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netvps.cli import local_keys
from netvps.cli.local_keys import candidates
from netvps.domain.ssh_key import PublicKey
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient
from tests.fakes.keys import ed25519

ONE, TWO = PublicKey.parse(ed25519(1)), PublicKey.parse(ed25519(2))


@pytest.fixture
def ssh(home: Path) -> Path:
    (home / ".ssh").mkdir()
    return home / ".ssh"


def test_create_registers_a_usual_key_once(run: Run, fake: FakeClient, ssh: Path) -> None:
    (ssh / "id_ed25519.pub").write_text(f"{ed25519(1)} me\n")
    assert f"registered your SSH key {ONE.fingerprint} ({ssh}/id_ed25519.pub)" in run("create", "--no-wait").err
    assert "registered" not in run("create", "--no-wait").err
    assert [key.fingerprint for key in fake.keys] == [ONE.fingerprint]


def test_a_key_of_somebody_else_is_passed_over(run: Run, fake: FakeClient, ssh: Path) -> None:
    (ssh / "id_ed25519.pub").write_text(ed25519(1))
    (ssh / "id_rsa.pub").write_text(ed25519(2))
    fake.taken = frozenset({ONE.fingerprint})
    assert TWO.fingerprint in run("create", "--no-wait").err


def test_who_has_none_gets_one_and_only_its_public_half_is_sent(run: Run, fake: FakeClient, home: Path) -> None:
    ran = run("create", "--no-wait")
    private = home / ".ssh/netvps_ed25519"
    assert f"made an SSH key for you, {private}" in ran.err
    assert private.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in str(fake.asked)
    printed = subprocess.run(["ssh-keygen", "-lf", f"{private}.pub"], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1] == fake.keys[0].fingerprint
    assert local_keys.own_files() == [private]
    assert local_keys.matching_files({printed.split()[1]}) == [private]


def test_keys_of_the_agent_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_keys, "_agent_keys", lambda: ["junk", f"{ed25519(2)} token"])
    assert [(origin, key.fingerprint) for origin, key in candidates()] == [("in your ssh-agent", TWO.fingerprint)]
