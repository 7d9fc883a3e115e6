"""Which server a command talks to."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import netvps.cli.server.connect
from netvps import exit_codes
from netvps.cli.server import contexts
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient

KEY = "nv_kid_secret"


def test_which_context_is_in_force(monkeypatch: pytest.MonkeyPatch, home: Path, run: Run, fake: FakeClient) -> None:
    for name in ("one", "two"):
        contexts.save(contexts.Context(name, f"{name}:1", "pem", KEY))
    contexts.use("one")
    asked: list[str] = []

    def dial(to: contexts.Context) -> FakeClient:
        asked.append(to.name)
        return fake

    monkeypatch.setattr(netvps.cli.server.connect, "dial", dial)
    run("ls")
    monkeypatch.setenv("NETVPS_CONTEXT", "two")
    run("ls")
    run("--context", "local", "ls")
    assert asked == ["one", "two", "local"]
    assert run("--context", "../one", "ls").code == exit_codes.NOT_FOUND
    monkeypatch.setenv("NETVPS_SOCKET", str(home / "x.sock"))
    assert contexts.local().address == f"unix:{home}/x.sock"


def test_the_systems_socket_serves_an_account_without_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETVPS_STATE_DIR")
    monkeypatch.delenv("NETVPS_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with TemporaryDirectory(prefix="nv-") as home:  # a short name: a socket's path has to fit in 107 bytes
        system, own = Path(home, "system.sock"), Path(home, ".local/state/netvps/run/api.sock")
        monkeypatch.setenv("HOME", home)
        monkeypatch.setattr(contexts, "SYSTEM_SOCKET", system)
        assert contexts.local().address == f"unix:{own}"
        system.touch()
        assert contexts.local().address == f"unix:{system}"
        own.parent.mkdir(parents=True)
        own.touch()
        assert contexts.local().address == f"unix:{own}"


@pytest.mark.parametrize("named", ["NETVPS_STATE_DIR", "NETVPS_RUNTIME_DIR"])
def test_whoever_names_a_folder_never_gets_the_systems_server(
    monkeypatch: pytest.MonkeyPatch, home: Path, named: str
) -> None:
    """Even as root: `netvps rm` in a shell that means another server must not remove the system's sessions."""
    for variable in {"NETVPS_STATE_DIR", "NETVPS_RUNTIME_DIR"} - {named}:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(contexts, "SYSTEM_SOCKET", home / "system.sock")
    (home / "system.sock").touch()
    assert contexts.local().address != f"unix:{home}/system.sock"
