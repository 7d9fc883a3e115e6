"""The scripts say what they do, refuse what they do not know, and are sound as far as bash can tell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if not path.name.startswith("_"))


def _run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_says_what_it_does(script: Path) -> None:
    answer = _run(script, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"scripts/{script.name}")
    assert "set -euo pipefail" not in answer.stdout


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "scripts/_env.sh", ROOT / ".ci/run"], ids=lambda path: path.name)
def test_bash_can_parse_it(script: Path) -> None:
    answer = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["check", "docs", "gen", "lock", "lab", "up"])
def test_an_unknown_flag_is_refused(name: str) -> None:
    answer = _run(ROOT / "scripts" / name, "--no-such-flag")
    assert answer.returncode == 2
    assert f"scripts/{name}" in answer.stderr
