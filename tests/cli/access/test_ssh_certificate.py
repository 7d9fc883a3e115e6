"""The CLI's own key, and the certificates that the server signs for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import cast

import pytest

from netvps.cli.access.ssh_certificate import certificate_options
from netvps.cli.server.contexts import Context
from netvps.errors import Exhausted
from netvps.rpc.client.client import Client
from tests.cli.fake_client import FakeClient

HERE = Context("local", "unix:/none.sock")


def _options(fake: FakeClient) -> list[str]:
    return certificate_options(cast("Client", fake), HERE)


def test_half_of_a_pair_is_recreated(fake: FakeClient, home: Path) -> None:
    (home / "config").mkdir()
    (home / "config/cli_ed25519").write_text("half")
    assert _options(fake)[-1] == f"{home}/config/cli_ed25519"
    assert (home / "config/cli_ed25519").read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    before = (home / "config/cli_ed25519.pub").read_text()
    _options(fake)
    assert (home / "config/cli_ed25519.pub").read_text() == before


def test_files_are_for_their_owner_alone(fake: FakeClient, home: Path) -> None:
    _options(fake)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (home / "config").iterdir()}
    assert modes == {"cli_ed25519": 0o600, "cli_ed25519.pub": 0o644, "certificate_local-cert.pub": 0o600}


def test_a_refusal_leaves_no_certificate(fake: FakeClient, home: Path) -> None:
    fake.errors["issue_ssh_certificate"] = Exhausted("later")
    with pytest.raises(Exhausted):
        _options(fake)
    assert not (home / "config/certificate_local-cert.pub").exists()


def test_a_folder_whose_name_ssh_would_read_as_a_token_is_escaped(
    fake: FakeClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETVPS_CONFIG_DIR", str(home / "a%h"))
    assert _options(fake)[-3:] == [
        f'CertificateFile="{home}/a%%h/certificate_local-cert.pub"',
        "-i",
        f"{home}/a%%h/cli_ed25519",
    ]


def test_where_too_many_were_issued_the_last_one_serves(fake: FakeClient, home: Path) -> None:
    expected = _options(fake)
    fake.errors["issue_ssh_certificate"] = Exhausted("later")
    assert _options(fake) == expected
    os.utime(home / "config/certificate_local-cert.pub", (0, time.time() - 241))
    with pytest.raises(Exhausted):
        _options(fake)
