"""Starting fast: what help and ls load, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = {
    *(
        "typer",
        "rich",
        "pydantic",
        "structlog",
        "textual",
        "sqlalchemy",
        "docker",
        "asyncssh",
        "aiohttp",
        "cryptography",
    ),
    *("uvloop", "asyncio.events", "grpc.aio._call"),
}


def _loaded(words: list[str], environment: dict[str, str]) -> set[str]:
    """Modules that are loaded when the command ends; a postponed one counts when something of it was used."""
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
    assert not loaded & {*HEAVY, "grpc", "google.protobuf", "ssl", "netvps.cli.create", "netvps.domain.session"}


def test_ls_loads_what_it_needs_and_nothing_heavy(tmp_path: Path) -> None:
    loaded = _loaded(["ls"], {"NETVPS_SOCKET": str(tmp_path / "none.sock")})
    assert "netvps.rpc.client" in loaded
    assert not loaded & {*HEAVY, "ssl", "netvps.cli.create", "netvps.cli.ssh", "google.protobuf.internal.decoder"}


def test_what_netvps_cli_lazy_postpones_works_when_it_is_used() -> None:
    program = (
        "from netvps.cli.lazy import postpone_heavy_imports\n"
        "postpone_heavy_imports(); postpone_heavy_imports()\n"
        "import grpc, sys\n"
        "assert 'asyncio.events' not in sys.modules\n"
        "import asyncio\n"
        "assert asyncio.run(asyncio.sleep(0, 'slept')) == 'slept'\n"
        "assert grpc.aio.insecure_channel\n"
        "print(sum(getattr(f, '__module__', '') == 'netvps.cli.lazy' for f in sys.meta_path))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("1\n", "")
