"""The version before this one, built from git as the wheel that people would have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.project.doc_pages import ROOT
from tests.support.environment import INHERITED

if TYPE_CHECKING:
    from pathlib import Path

_MIGRATIONS = "netvps/adapters/store/migrations/versions"


def _git(*words: str) -> str:
    answer = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False, timeout=60)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def previous_revision() -> str:
    """The last release, if there is one that is not this commit; else the commit before the newest schema.

    Skips the test where git's history does not reach so far back.
    """
    head = _git("rev-parse", "HEAD")
    release = _git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if release and _git("rev-list", "-n1", release) != head:
        return release
    newest = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", _MIGRATIONS)
    before = _git("rev-parse", "--verify", "--quiet", f"{newest}^") if newest else ""
    if not before:
        pytest.skip("the version before this one is not in git's history here: git fetch --unshallow")
    return before


def unpacked_wheel(folder: Path) -> Path:
    """A folder with what the wheel of the version before this one installs, for PYTHONPATH."""
    source, wheels, program = folder / "source", folder / "wheels", folder / "program"
    source.mkdir()
    archive = folder / "source.tar"
    revision = previous_revision()
    subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(archive), revision], check=True, timeout=60)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(source)], check=True, timeout=60)
    agents = ROOT / "netvps/agents"
    if agents.is_dir():  # the build makes others unless these are of the same source
        shutil.copytree(agents, source / "netvps/agents")
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=source,
        env=INHERITED | {"HOME": os.environ.get("HOME", str(folder))},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert build.returncode == 0, build.stderr
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(program)
    for agent in (program / "netvps/agents").iterdir():
        agent.chmod(0o755)  # zipfile leaves modes out, pip does not
    return program
