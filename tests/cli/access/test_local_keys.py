"""The SSH keys of this person on this machine."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from netvps.cli.access import local_keys
from netvps.cli.access.local_keys import candidates
from netvps.domain.access.ssh_key import PublicKey
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient
from tests.fakes.keys import ed25519

ONE, TWO = PublicKey.parse(ed25519(1)), PublicKey.parse(ed25519(2))


@pytest.fixture
def ssh(home: Path) -> Path:
    (home / ".ssh").mkdir()
    return home / ".ssh"


def _make(file: Path, *options: str) -> PublicKey:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file), *options]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return local_keys.read(file.with_suffix(".pub"))


def test_create_registers_a_usual_key_once(run: Run, fake: FakeClient, ssh: Path) -> None:
    made = _make(ssh / "id_ed25519")
    assert f"registered your SSH key {made.fingerprint} ({ssh}/id_ed25519)" in run("create", "--no-wait").err
    assert "registered" not in run("create", "--no-wait").err
    assert [key.fingerprint for key in fake.keys] == [made.fingerprint]
    assert f'IdentityFile "{ssh}/id_ed25519"' in (ssh / "netvps/config").read_text()


def test_a_key_of_another_user_is_passed_over(run: Run, fake: FakeClient, ssh: Path) -> None:
    taken, free = _make(ssh / "id_ed25519"), _make(ssh / "id_ecdsa", "-t", "ecdsa")
    fake.taken = frozenset({taken.fingerprint})
    assert free.fingerprint in run("create", "--no-wait").err


def test_a_key_of_netvps_that_another_user_registered_gets_a_brother(run: Run, fake: FakeClient, ssh: Path) -> None:
    fake.taken = frozenset({_make(ssh / "netvps_ed25519").fingerprint})
    assert f"made an SSH key for you, {ssh}/netvps_ed25519_2" in run("create", "--no-wait").err
    assert "made an SSH key" not in run("create", "--no-wait").err


def test_on_a_second_machine_the_key_of_the_first_does_not_count(run: Run, fake: FakeClient, ssh: Path) -> None:
    fake.create_ssh_key(ed25519(1))
    second = _make(ssh / "id_ed25519")
    run("create", "--no-wait")
    assert [key.fingerprint for key in fake.keys] == [ONE.fingerprint, second.fingerprint]


@pytest.mark.parametrize("form", [(), ("-m", "PEM", "-t", "rsa"), ("-m", "PKCS8", "-t", "ecdsa")])
def test_a_key_with_a_passphrase_is_known_as_such(ssh: Path, form: tuple[str, ...]) -> None:
    _make(ssh / "id_rsa", *form)
    _make(ssh / "id_ecdsa", *form, "-N", "passphrase")
    assert [(key.file, key.prompts) for key in local_keys.local_keys()] == [
        (ssh / "id_ecdsa", True),
        (ssh / "id_rsa", False),
    ]


def test_a_key_that_asks_at_each_login_is_passed_over(run: Run, fake: FakeClient, ssh: Path) -> None:
    asks = _make(ssh / "id_ed25519", "-N", "passphrase")
    fake.create_ssh_key(asks.text)
    run("create", "--no-wait")
    assert f'IdentityFile "{ssh}/netvps_ed25519"' in (ssh / "netvps/config").read_text()


def test_files_go_before_an_agent_with_many_keys_and_what_it_holds_does_not_ask(
    run: Run, fake: FakeClient, ssh: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = _make(ssh / "id_rsa", "-N", "passphrase")
    monkeypatch.setattr(local_keys, "_agent_keys", lambda: [*map(ed25519, range(1, 12)), asks.text])
    fake.create_ssh_key(ed25519(7))
    run("create", "--no-wait")
    assert f'IdentityFile "{home}/config/agent_key_local.pub"' in (ssh / "netvps/config").read_text()
    assert (home / "config/agent_key_local.pub").read_text() == f"{ed25519(7)}\n"
    fake.create_ssh_key(asks.text)
    run("config-ssh")
    assert f'IdentityFile "{ssh}/id_rsa"' in (ssh / "netvps/config").read_text()


def test_keys_that_need_a_touch_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = _blob(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")
    monkeypatch.setattr(local_keys, "_agent_keys", lambda: [f"sk-ssh-ed25519@openssh.com {blob}"])
    assert [key.prompts for key in local_keys.local_keys()] == [True]


def _blob(*parts: bytes) -> str:
    return base64.b64encode(b"".join(len(part).to_bytes(4) + part for part in parts)).decode()


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
