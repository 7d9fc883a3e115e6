"""Which server a command talks to."""

from __future__ import annotations

from pathlib import Path

import pytest

import netvps.cli.connect
from netvps.cli import contexts, exit_codes
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

    monkeypatch.setattr(netvps.cli.connect, "dial", dial)
    run("ls")
    monkeypatch.setenv("NETVPS_CONTEXT", "two")
    run("ls")
    run("--context", "local", "ls")
    assert asked == ["one", "two", "local"]
    assert run("--context", "../one", "ls").code == exit_codes.NOT_FOUND
    monkeypatch.setenv("NETVPS_SOCKET", str(home / "x.sock"))
    assert contexts.local().address == f"unix:{home}/x.sock"


def test_the_systems_socket_serves_who_has_none(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(contexts, "SYSTEM_SOCKET", home / "system.sock")
    assert contexts.local().address == f"unix:{home}/run/api.sock"
    (home / "system.sock").touch()
    assert contexts.local().address == f"unix:{home}/system.sock"
    (home / "run").mkdir()
    (home / "run/api.sock").touch()
    assert contexts.local().address == f"unix:{home}/run/api.sock"
