"""The CA is made once, whoever comes first."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.ca import Authority, open_ca
from netvps.adapters.ca.x509 import ROOT_LIFE
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

FIRST_START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from netvps.adapters.ca import open_ca

sys.stdin.readline()
print(open_ca(Path(sys.argv[1]), "c1", lambda: datetime.now(UTC)).fingerprint)
"""


def everything(ca: Authority) -> tuple[str, ...]:
    return (ca.certificate, ca.fingerprint, ca.ssh_user_ca, ca.ssh_host_ca, ca.ssh_host_public_key)


def test_opening_again_gives_the_same(ca: Authority, directory: Path, clock: Callable[[], datetime]) -> None:
    assert everything(open_ca(directory, "c1", clock)) == everything(ca)


def test_processes_that_start_at_once_agree(directory: Path) -> None:
    command = [sys.executable, "-c", FIRST_START, str(directory)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert list(directory.parent.iterdir()) == [directory]


@pytest.mark.usefixtures("ca")
def test_the_ca_of_another_cluster_is_refused(directory: Path, clock: Callable[[], datetime]) -> None:
    with pytest.raises(
        ConfigError, match="belongs to 'CN=netvps CA c1', the database to 'CN=netvps CA c2'; restore both"
    ):
        open_ca(directory, "c2", clock)


@pytest.mark.usefixtures("ca")
def test_a_ca_that_ended_is_refused(directory: Path, now: datetime) -> None:
    open_ca(directory, "c1", lambda: now + ROOT_LIFE - timedelta(seconds=1))
    with pytest.raises(ConfigError, match=r"expired on .*: check this machine's clock; or move the directory away"):
        open_ca(directory, "c1", lambda: now + ROOT_LIFE)


@pytest.mark.usefixtures("ca")
def test_a_clock_before_the_ca_is_reported(directory: Path, now: datetime) -> None:
    open_ca(directory, "c1", lambda: now - timedelta(hours=23))
    with pytest.raises(ConfigError, match=r"is valid from .* in the future: set this machine's clock"):
        open_ca(directory, "c1", lambda: now - timedelta(hours=25))


def test_keys_that_are_trusted_are_never_recreated(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    with pytest.raises(ConfigError, match="is missing, and the runners in the database trust its keys"):
        open_ca(tmp_path / "gone", "c1", clock, trusted=True)
    assert not (tmp_path / "gone").exists()
