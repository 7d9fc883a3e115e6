"""Starting fast: what help and ls load, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

HEAVY = {
    "pydantic",
    "structlog",
    "textual",
    "sqlalchemy",
    "docker",
    "asyncssh",
    "aiohttp",
    "cryptography",
    "uvloop",
}


def _loaded(words: list[str], environment: dict[str, str]) -> set[str]:
    """Modules that are loaded when the command ends."""
    program = (
        "import sys\nfrom netvps.cli.app import run\n"
        f"run({words!r})\nprint('\\nLOADED', *sys.modules)"
    )  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | environment,
    )
    return set(ended.stdout.rpartition("LOADED")[2].split())


def test_help_loads_neither_commands_nor_grpc_nor_anything_heavy() -> None:
    loaded = _loaded(["--help"], {})
    assert not loaded & {
        *HEAVY,
        "grpc",
        "google.protobuf",
        "netvps.cli.session.create",
        "netvps.domain.session.session",
        "netvps.domain.session.spec",
    }


def test_ls_loads_what_it_needs_and_nothing_heavy(tmp_path: Path) -> None:
    loaded = _loaded(["ls"], {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    assert "netvps.rpc.client.client" in loaded
    others = {"netvps.cli.session.create", "netvps.cli.access.ssh", "netvps.api.v1.link_pb2", "random"}
    assert not loaded & {*HEAVY, *others}


def test_ls_loads_no_calls_and_no_converters_but_its_own(tmp_path: Path) -> None:
    loaded = _loaded(["ls"], {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    calls = {name for name in loaded if name.startswith("netvps.rpc.client.calls.")}
    assert calls == {f"netvps.rpc.client.calls.{name}" for name in ("all", "call", "sessions")}
    converters = {"images", "registries", "shares", "ssh_keys", "users", "http", "runner", "session.moves"}
    values = {"access.accounts", "access.sharing", "http", "image", "runner.runner", "moves.steps"}
    assert not loaded & {f"netvps.rpc.convert.{name}" for name in converters}
    assert not loaded & {f"netvps.domain.{name}" for name in values}
    assert "hashlib" not in loaded


def test_ssh_proxy_loads_what_it_needs_and_nothing_heavy(tmp_path: Path) -> None:
    loaded = _loaded(["ssh-proxy", "dev1"], {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    assert "netvps.cli.proxy.carrier" in loaded
    others = {"netvps.cli.access.ssh", "netvps.domain.session.lifecycle"}
    assert not loaded & (HEAVY | others)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("words", "canonical"),
    [(["list"], ["ls"]), (["ps", "-q"], ["ls", "-q"]), (["runner", "list"], ["runner", "ls"]),
     (["user", "remove", "--help"], ["user", "rm", "--help"]), (["shell", "--help"], ["ssh", "--help"])],
)  # fmt: skip
def test_other_names_of_commands_are_taken(words: list[str], canonical: list[str], run: Run) -> None:
    assert run(*words) == run(*canonical)


def test_other_names_are_suggested_too(run: Run) -> None:
    assert "did you mean delete" in run("delet").err
