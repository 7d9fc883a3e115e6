from __future__ import annotations

import json
import os
from pathlib import Path

from netvps.process.pid_file import pid_file, start_time


def test_it_names_this_process_for_the_block(tmp_path: Path) -> None:
    file = tmp_path / "up.pid"
    with pid_file(file):
        assert json.loads(file.read_text()) == {"pid": os.getpid(), "started": start_time(os.getpid())}
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_gone_has_no_start() -> None:
    assert start_time(2**22 + 1) is None


def test_the_start_is_that_of_the_kernel() -> None:
    uptime_ticks = float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")
    started = start_time(os.getpid())
    assert started is not None
    assert 0 < started <= uptime_ticks
