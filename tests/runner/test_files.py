"""Whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.runner.files import write_file


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, b"one")
    write_file(path, b"two", 0o755)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    (path / "in it").touch()
    with pytest.raises(OSError, match="directory"):
        write_file(path, b"one")
    assert list(tmp_path.iterdir()) == [path]
