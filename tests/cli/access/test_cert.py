"""`netvps cert`: a certificate beside its key, or from stdin to stdout, and lines of known_hosts."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient
from tests.fakes.keys import ed25519


def test_a_certificate_is_written_beside_its_key(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "id.pub"
    file.write_text(f"{ed25519(1)} ann@laptop\n")
    ran = run("cert", str(file))
    assert ran.out == f"{tmp_path}/id-cert.pub\n"
    assert "it logs in for 8h" in ran.err
    assert (tmp_path / "id-cert.pub").read_text() == "ssh-ed25519-cert-v01@openssh.com AAAA\n"
    assert ("issue_ssh_certificate", ed25519(1), 8 * 3600.0) in fake.asked


def test_stdin_is_answered_on_stdout(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ed25519(1)))
    ran = run("cert", "-", "--ttl", "1h")
    assert (ran.out, ran.err) == ("ssh-ed25519-cert-v01@openssh.com AAAA\n", "")
    assert ("issue_ssh_certificate", ed25519(1), 3600.0) in fake.asked


def test_lines_of_known_hosts(run: Run, fake: FakeClient) -> None:
    (gateway,) = run("cert", "--known-hosts").out.splitlines()
    assert gateway.startswith("[127.0.0.1]:2222 ssh-ed25519 ")
    fake.info = replace(fake.info, ssh_host_ca="ssh-ed25519 AAAA the CA")
    assert run("cert", "--known-hosts").out.splitlines() == [gateway, "@cert-authority *.nv.internal ssh-ed25519 AAAA"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give KEY.pub to be signed, '-' for stdin, or --known-hosts"),
        (("id.pub", "--known-hosts"), "give KEY.pub to be signed"),
        (("/nosuch/id.pub",), "SSH key /nosuch/id.pub cannot be read"),
    ],
)
def test_what_cannot_be_signed_is_explained(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run("cert", *words)
    assert ran.code != 0
    assert said in ran.err
