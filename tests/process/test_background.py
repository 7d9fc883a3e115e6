from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netvps.errors import InternalError
from netvps.exit_codes import Cancelled
from netvps.process import background
from netvps.process.background import start_in_background
from netvps.process.log_file import rotate_if_too_long


def test_an_error_is_the_programs_own_and_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    outcome = start_in_background("up", ["--overlay-pool", "8.8.0.0/16"], log)
    assert outcome.code == 10
    assert "overlay_pool 8.8.0.0/16 is not private" in outcome.error
    assert outcome.error in log.read_text()


def test_a_death_without_a_word_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match=r"up\.log"):
        start_in_background("up", ["--no-such-flag"], tmp_path / "up.log")


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "rotate_if_too_long", partial(rotate_if_too_long, limit=10))
    log = tmp_path / "up.log"
    log.write_text("old " * 10)
    start_in_background("up", ["--overlay-pool", "8.8.0.0/16"], log)
    assert (tmp_path / "up.log.1").read_text().startswith("old ")
    assert "old " not in log.read_text()


def test_ctrl_c_ends_what_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **kwargs))
        return started[-1]

    def interrupted(wait: Coroutine[Any, Any, object]) -> None:
        wait.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr(asyncio, "run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(Cancelled, match="were stopped"):
            start_in_background("up", ["--state-dir", str(tmp_path)], tmp_path / "up.log")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [process.returncode is not None for process in started] == [True]
