from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.process.locks import hold


def test_a_second_holder_learns_who_is_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold(lock, "netvps up"), pytest.raises(ConfigError) as error, hold(lock, "netvps up"):
        pytest.fail("held twice")
    assert f"process {os.getpid()}" in str(error.value)
    assert error.value.reason == "ALREADY_RUNNING"


def test_it_is_free_again_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with hold(tmp_path / "lock", "netvps up"):
            assert (tmp_path / "lock").read_text().strip() == str(os.getpid())


def test_the_kernel_frees_it_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = f"""
import pathlib, sys
from netvps.process.locks import hold
with hold(pathlib.Path({str(tmp_path / "lock")!r}), "x"):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError), hold(tmp_path / "lock", "x"):
            pytest.fail("held twice")
        other.kill()
        other.wait()
    with hold(tmp_path / "lock", "x"):
        assert True
