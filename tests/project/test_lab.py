"""scripts/lab: two hosts, each with an engine of its own, that reach each other, and nothing left of them.

host 1: 192.0.2.1, dockerd     host 2: 192.0.2.2, dockerd
          └────────── br0 in namespace PREFIX-switch ──┘
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.support.images import BUSYBOX, busybox_archive, import_image

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.docker, pytest.mark.netns]


def _lab(prefix: str, *arguments: str, check: bool = True) -> str:
    answer = subprocess.run(
        [ROOT / "scripts/lab", *arguments],
        env=os.environ | {"NETVPS_LAB": prefix},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert answer.returncode == 0 or not check, answer.stderr
    return answer.stdout


def _traces(prefix: str) -> list[str]:
    """What there is of a lab on this machine."""
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    processes = [
        line
        for folder in Path("/proc").glob("[0-9]*")
        if prefix in (line := _command_line(folder)) and "scripts/lab" not in line and int(folder.name) != os.getpid()
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if prefix in line]
    files = [str(path) for path in Path("/var/tmp").glob(f"{prefix}*")]
    return [line for line in namespaces.splitlines() if prefix in line] + processes + mounts + files


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_two_hosts_with_an_engine_each_and_nothing_left_behind() -> None:
    prefix = f"nvl{secrets.token_hex(3)}"
    try:
        _lab(prefix, "up", "2")
        sockets = [line.split()[2] for line in _lab(prefix, "ls").splitlines()]
        assert len(sockets) == 2
        ping = _lab(prefix, "exec", "1", str(BUSYBOX), "ping", "-c", "1", "-W", "5", "192.0.2.2")
        assert "1 packets received" in ping
        archive = busybox_archive()
        roots = set()
        for host, docker_host in enumerate(sockets, 1):
            import_image(archive, "lab/busybox", docker_host)
            said = _lab(prefix, "exec", str(host), "docker", "run", "--rm", "lab/busybox", "echo", f"on {host}")
            assert said == f"on {host}\n"
            roots.add(_lab(prefix, "exec", str(host), "docker", "info", "--format", "{{.DockerRootDir}}"))
        assert len(roots) == 2
    finally:
        _lab(prefix, "down", check=False)
    assert _traces(prefix) == []


def test_a_second_lab_of_the_same_name_is_refused() -> None:
    prefix = f"nvl{secrets.token_hex(3)}"
    folder = Path("/var/tmp") / prefix
    folder.mkdir()
    try:
        with pytest.raises(AssertionError, match="there is a lab already"):
            _lab(prefix, "up", "1")
        assert folder.exists()
    finally:
        folder.rmdir()
