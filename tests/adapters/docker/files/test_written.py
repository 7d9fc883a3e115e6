"""What a container wrote is counted by blocks and without holes, and what no image holds is named."""

from __future__ import annotations

import os
from pathlib import Path

from netvps.adapters.docker.files.written import Written, survey


def test_a_hole_takes_no_blocks_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with (tmp_path / "root/hole").open("wb") as file:
        file.truncate(1 << 40)
    with (tmp_path / "root/small").open("wb") as file:
        file.truncate(1 << 30)
    written = survey(str(tmp_path))
    assert written.blocks < 1 << 20
    assert written.apparent > 1 << 40
    assert (written.widest, written.widest_hole) == ("/root/hole", 1 << 40)


def test_hard_links_count_once_and_links_are_not_followed(tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("/")
    assert 1 << 20 <= survey(str(tmp_path)).blocks < 3 << 19


def test_names_that_delete_their_neighbours_are_reported_up_to_a_few(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for number in range(9):
        (tmp_path / f"d/.wh.{number}").touch()
    (tmp_path / "d/.why").touch()
    assert survey(str(tmp_path)).whiteouts == tuple(f"/d/.wh.{number}" for number in range(5))


def test_a_folder_that_vanished_holds_nothing(tmp_path: Path) -> None:
    assert survey(str(tmp_path / "none")) == Written()
