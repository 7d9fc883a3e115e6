"""The agent's program is kept by digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.runner.agent import keep_agent


def test_an_upgrade_leaves_the_old_one_where_it_is(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"one")
    first = keep_agent(program, tmp_path)
    program.write_bytes(b"two")
    second = keep_agent(program, tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert second == keep_agent(program, tmp_path)
    assert second.stat().st_mode & 0o777 == 0o755


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        keep_agent(tmp_path / "none", tmp_path)
