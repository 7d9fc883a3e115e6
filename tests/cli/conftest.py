"""Commands run in this process, against a fake server, in folders of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netvps.cli import app
from netvps.cli.server import connect
from tests.cli.fake_client import FakeClient


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No person's files are touched, and no person's settings are read."""
    for name in ("NETVPS_ADDRESS", "NETVPS_API_KEY", "NETVPS_API_KEY_FILE", "NETVPS_CA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NETVPS_CONTEXT", "NETVPS_SOCKET", "NETVPS_DEBUG", "NO_COLOR", "NETVPS_ACCESSIBLE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETVPS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETVPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NETVPS_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The server that every context leads to."""
    client = FakeClient()
    monkeypatch.setattr(connect, "dial", lambda _context: client)
    return client


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `netvps` with these words."""

    def run(*words: str) -> Ran:
        capfd.readouterr()
        code = app.run(list(words))
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run
