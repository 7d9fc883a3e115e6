"""The release: its workflow pins what it runs, and the notes of a version are its part of the changelog."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def _steps() -> list[dict[str, Any]]:
    jobs = [job for file in WORKFLOWS for job in yaml.safe_load(file.read_text())["jobs"].values()]
    return [step for job in jobs for step in job["steps"]]


def test_actions_are_pinned_by_commit_and_programs_by_version() -> None:
    used = [step["uses"] for step in _steps() if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    for file in WORKFLOWS:
        for name, program in yaml.safe_load(file.read_text())["env"].items():
            assert re.fullmatch(r"\S+@v[0-9.]+", program), name


def test_a_job_has_only_the_permissions_that_it_names() -> None:
    for file in WORKFLOWS:
        content = yaml.safe_load(file.read_text())
        assert content["permissions"] == {}
        for name, job in content["jobs"].items():
            assert job["permissions"], name
            assert job["timeout-minutes"] <= 90, name


def test_scripts_of_a_workflow_exist() -> None:
    named = {word for step in _steps() for word in re.findall(r"\bscripts/[a-z-]+", step.get("run", ""))}
    assert named >= {"scripts/images", "scripts/release-notes", "scripts/wheel"}
    for script in named:
        assert (ROOT / script).stat().st_mode & 0o111, script


def _notes(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    (folder / "scripts").mkdir(exist_ok=True)
    for name in ("release-notes", "_env.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    (folder / "CHANGELOG.md").write_text(
        "# Changes\n\n## Unreleased\n\n- new\n\n## 0.2.0 (2027)\n\n- kept\n\n## 0.1.0\n- old\n"
    )
    command = [str(folder / "scripts/release-notes"), version]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_notes_are_the_part_of_the_version_and_say_how_to_verify(tmp_path: Path) -> None:
    done = _notes(tmp_path, "0.2.0")
    assert done.returncode == 0, done.stderr
    assert "- kept" in done.stdout
    assert "- old" not in done.stdout
    assert "- new" not in done.stdout
    assert "cosign verify REGISTRY/netvps-server:0.2.0" in done.stdout
    refused = _notes(tmp_path, "0.3.0")
    assert refused.returncode == 1
    assert "CHANGELOG.md has no part '## 0.3.0'" in refused.stderr
