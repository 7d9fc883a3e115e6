from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from netvps.errors import InternalError
from netvps.programs import background
from netvps.programs.background import start_in_background
from netvps.programs.log_file import put_aside


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
    monkeypatch.setattr(background, "put_aside", partial(put_aside, limit=10))
    log = tmp_path / "up.log"
    log.write_text("old " * 10)
    start_in_background("up", ["--overlay-pool", "8.8.0.0/16"], log)
    assert (tmp_path / "up.log.1").read_text().startswith("old ")
    assert "old " not in log.read_text()
