"""`netvps key`, and the keys of this person on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.domain.access.ssh_key import PublicKey
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient
from tests.fakes.keys import ed25519

ONE, TWO = PublicKey.parse(ed25519(1)), PublicKey.parse(ed25519(2))


@pytest.fixture
def ssh(home: Path) -> Path:
    (home / ".ssh").mkdir()
    return home / ".ssh"


def test_add_takes_a_file(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_text(f"{ed25519(1)} alice@laptop\n")
    assert run("key", "add", str(tmp_path / "k.pub"), "--title", "laptop").out == f"{ONE.fingerprint}\n"
    assert fake.asked == [("create_ssh_key", f"{ed25519(1)} alice@laptop", "laptop", "")]


def test_add_finds_the_usual_one(run: Run, fake: FakeClient, ssh: Path) -> None:
    (ssh / "id_rsa.pub").write_text(ed25519(2))
    ran = run("key", "add")
    assert ran.out == f"{TWO.fingerprint}\n"
    assert str(ssh / "id_rsa.pub") in ran.err
    assert fake.keys


@pytest.mark.parametrize("text", ["rubbish", "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-ed25519 AAAA"])
def test_what_is_no_public_key_never_leaves(text: str, run: Run, fake: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "k").write_text(text)
    assert run("key", "add", str(tmp_path / "k")).code == exit_codes.USAGE
    assert run("key", "add", str(tmp_path / "none")).code == exit_codes.USAGE
    assert run("key", "add").code == exit_codes.USAGE
    assert fake.asked == []


def test_ls_and_rm(run: Run, fake: FakeClient) -> None:
    assert "`netvps key add`" in run("key", "ls").err
    fake.create_ssh_key(ed25519(1), "laptop")
    assert run("key", "ls").out.splitlines()[1].split()[:3] == [ONE.fingerprint, "ssh-ed25519", "laptop"]
    assert run("key", "rm", ONE.fingerprint, "--user", "bob").out == f"{ONE.fingerprint}\n"
    assert fake.asked[-1] == ("delete_ssh_key", ONE.fingerprint, "bob")
