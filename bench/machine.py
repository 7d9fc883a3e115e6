"""Describes the machine of a benchmark, in two lines for the report."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent.parent


def machine() -> str:
    """Describes CPUs, memory and kernel."""
    model = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal: *(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    parts = [f"{os.cpu_count()} CPUs" + (f" ({' '.join(model[1].split())})" if model else "")]
    if memory:
        parts.append(f"{int(memory[1]) / (1 << 20):.0f} GiB of memory")
    return ", ".join([*parts, f"Linux {platform.release()}"])


def versions() -> str:
    """Lists the versions of netvps, with its commit, and of its dependencies; omits unknown ones."""
    commit = _said("git", "-C", str(_ROOT), "describe", "--always", "--dirty")
    docker = _said("docker", "version", "--format", "{{.Server.Version}}")
    parts = [f"netvps {version('netvps')}" + (f" ({commit})" if commit else "")]
    parts += [f"Docker {docker}"] if docker else []
    return ", ".join([*parts, f"Python {platform.python_version()}", f"gRPC {version('grpcio')}"])


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _said(*command: str) -> str:
    """Returns a program's output; '' if it does not exist or fails."""
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode(errors="replace").strip()
