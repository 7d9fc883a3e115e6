"""`netvps context`."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps import client, exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.cli.access.login import fingerprint
from netvps.cli.server import contexts
from netvps.cli.server.contexts_command import context
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient

KEY = "nv_kid_secret"


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The certificate of a server that answers wherever it is asked."""
    certificate = open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate
    monkeypatch.setattr(client, "fetch_server_info", lambda _: replace(INFO, ca_certificate=certificate))
    return certificate


@pytest.fixture
def piped_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))


@pytest.mark.usefixtures("piped_key", "fake", "ca")
def test_contexts_are_listed_chosen_and_forgotten(run: Run, home: Path) -> None:
    run("login", "vps.example:443", "--yes", "--name", "lab")
    table = run("context", "ls").out.splitlines()
    assert table[1].split() == ["local", f"unix:{home}/run/api.sock"]
    assert table[2].split() == ["*", "lab", "vps.example:443"]
    assert KEY not in run("context", "ls", "-o", "json").out
    assert run("context", "use", "local").out == "local\n"
    assert contexts.chosen() == "local"
    assert run("context", "use", "none").code == exit_codes.NOT_FOUND
    contexts.write_known_hosts("lab", "x\n")
    run("context", "use", "lab")
    assert run("logout").out == "lab\n"
    assert not [path for path in (home / "config").rglob("*") if path.is_file()]
    assert run("logout").code == exit_codes.CONFIGURATION


def test_without_a_command_it_says_which_there_are(run: Run) -> None:
    ran = run("context")
    assert ran.code == exit_codes.USAGE
    assert all(name in ran.out + ran.err for name in context.commands)


@pytest.mark.usefixtures("piped_key", "fake")
def test_a_context_is_shown_with_its_ca_and_without_its_key(run: Run, ca: str) -> None:
    run("login", "vps.example", "--yes", "--name", "lab", "--no-config-ssh")
    assert run("context", "show", "--ca").out == ca
    shown = run("context", "show", "lab").out
    assert [line.split() for line in shown.splitlines()] == [
        ["name", "lab"],
        ["address", "vps.example:7443"],
        ["CA,", "SHA-256", fingerprint(ca)],
        ["target", "name", "control.netvps.internal"],
        ["API", "key", "known"],
    ]
    assert json.loads(run("context", "show", "-o", "json").out)["caFingerprint"] == fingerprint(ca)
    assert KEY not in shown


def test_the_server_of_this_machine_is_asked_for_its_ca(run: Run, fake: FakeClient, ca: str) -> None:
    fake.info = replace(INFO, ca_certificate=ca)
    assert run("context", "show", "local", "--ca").out == ca
