"""`netvps register`: nothing is sent to a server that the token is not for."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps import client, exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.cli.access.login import fingerprint
from netvps.cli.server import contexts
from netvps.domain.server import Registration, ServerInfo
from netvps.errors import Unauthenticated
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient
from tests.fakes.keys import ed25519

Said = dict[str, ServerInfo]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """What the server says of itself."""
    certificate = open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate
    said = {"info": replace(INFO, ca_certificate=certificate, registration=Registration.INVITE_ONLY)}
    monkeypatch.setattr(client, "fetch_server_info", lambda _: said["info"])
    return said


@pytest.fixture
def key(tmp_path: Path) -> str:
    file = tmp_path / "ann.pub"
    file.write_text(f"{ed25519(1)} ann@laptop\n")
    return str(file)


def token_of(info: ServerInfo) -> str:
    return f"nvi_{'a' * 12}_{'b' * 64}_{fingerprint(info.ca_certificate)}"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_an_invited_person_has_an_account_and_a_context(
    run: Run, fake: FakeClient, said: Said, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_of(said["info"])
    typed(monkeypatch, f"{token}\n")
    ran = run("register", "vps.example", "--user", "ann", "--key", key, "--no-config-ssh")
    assert (ran.code, ran.out) == (0, "ann\n")
    assert "you are ann (user) at vps.example:7443; next: netvps create" in ran.err
    assert "secret" not in ran.out + ran.err
    assert fake.asked == [("register_user", "ann", "ssh-ed25519", token)]
    stored = contexts.resolve("vps-example")
    assert (stored.api_key, stored.ca_certificate) == ("nv_kid_secret", said["info"].ca_certificate)
    assert contexts.chosen() == "vps-example"


def test_the_token_may_come_from_a_file_and_the_key_from_this_machine(
    run: Run, fake: FakeClient, said: Said, home: Path
) -> None:
    (home / "token").write_text(token_of(said["info"]))
    (home / ".ssh").mkdir()
    (home / ".ssh/id_ed25519").write_text("-----BEGIN EC PRIVATE KEY-----\n")
    (home / ".ssh/id_ed25519.pub").write_text(ed25519(2))
    ran = run("register", "vps.example", "--token-file", str(home / "token"), "--name", "work", "--no-config-ssh")
    assert ran.code == 0
    assert "taking your SSH key" in ran.err
    assert contexts.chosen() == "work"
    assert fake.asked[0][2] == "ssh-ed25519"


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize(
    ("token", "code", "word"),
    [
        (f"nvi_{'a' * 12}_{'b' * 64}_{'c' * 64}", exit_codes.NOT_ALLOWED, "nothing was sent to it"),
        ("nv_api_key", exit_codes.USAGE, "it begins with nvi_"),
        ("", exit_codes.USAGE, "it begins with nvi_"),
    ],
)
def test_what_is_no_token_for_this_server_is_not_sent(
    run: Run,
    fake: FakeClient,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    token: str,
    code: int,
    word: str,
) -> None:
    typed(monkeypatch, token)
    ran = run("register", "vps.example", "--user", "ann", "--key", key)
    assert (ran.code, word in ran.err) == (code, True)
    assert token[4:] not in ran.err or not token
    assert fake.asked == []
    assert contexts.names() == ["local"]


def test_a_closed_server_says_so_before_anything_is_asked(run: Run, fake: FakeClient, said: Said, key: str) -> None:
    said["info"] = replace(said["info"], registration=Registration.CLOSED)
    ran = run("register", "vps.example", "--user", "ann", "--key", key)
    assert ran.code == exit_codes.NOT_ALLOWED
    assert "netvps login vps.example" in ran.err
    assert fake.asked == []


def test_an_open_server_needs_no_token_but_trust(
    run: Run, fake: FakeClient, said: Said, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said["info"] = replace(said["info"], registration=Registration.OPEN)
    typed(monkeypatch, "")
    words = ("register", "vps.example", "--user", "ann", "--key", key, "--no-config-ssh")
    refused = run(*words)
    assert refused.code == exit_codes.USAGE
    assert "--ca-fingerprint" in refused.err
    assert fake.asked == []
    assert run(*words, "--yes").code == 0
    assert fake.asked == [("register_user", "ann", "ssh-ed25519", "")]


def test_a_refusal_leaves_no_context(
    run: Run, fake: FakeClient, said: Said, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.errors["register_user"] = Unauthenticated("this invitation is unknown")
    typed(monkeypatch, token_of(said["info"]))
    assert run("register", "vps.example", "--user", "ann", "--key", key).code == exit_codes.NOT_ALLOWED
    assert contexts.names() == ["local"]
    typed(monkeypatch, token_of(said["info"]))
    assert run("register", "vps.example", "--name", "local", "--key", key).code == exit_codes.CONFIGURATION
    assert len(fake.asked) == 1
