"""Trees that a tenant filled go without anybody waiting for it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from netvps.runner.trash import Trash, remove_tree
from tests.support.patience import PATIENCE


def test_a_deep_and_wide_tree_goes_and_what_links_in_it_lead_to_stays(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    (outside / "kept").mkdir(parents=True)
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    os.mkfifo(tree / "pipe")
    for n in range(2500):
        (tree / f"{n}").mkdir()
    (tree / "7" / "file").touch()
    (tree / "7" / "link").symlink_to(outside)
    deep = os.open(tree, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path can be long, and than Python can recurse
        os.mkdir("folder", dir_fd=deep)
        inner = os.open("folder", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    remove_tree(tree, threading.Event())
    assert not tree.exists()
    assert (outside / "kept").is_dir()


def test_a_file_and_a_link_go_too(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(tmp_path)
    for path in (file, link):
        remove_tree(path, threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_it_ends_early_when_the_runner_does(tmp_path: Path) -> None:
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    stopping = threading.Event()
    stopping.set()
    remove_tree(tmp_path / "tree", stopping)
    assert (tmp_path / "tree" / "folder").exists()


async def test_the_loop_goes_on_while_many_files_are_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for n in range(20_000):
        (tree / str(n)).touch()
    trash, longest = Trash(tmp_path), 0.0
    trash.put(tree)
    assert not tree.exists()
    running = asyncio.create_task(trash.run())
    while list(tmp_path.iterdir()):
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    running.cancel()
    assert longest < 0.5


async def test_what_an_earlier_process_left_is_removed_and_a_failure_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trash = Trash(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        trash.put(tmp_path / name)
    trash.put(tmp_path / "gone")
    real, calls = remove_tree, 0

    def failing(path: Path, stopping: threading.Event) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise PermissionError(13, "Permission denied")
        real(path, stopping)

    monkeypatch.setattr("netvps.runner.trash.remove_tree", failing)
    for left in (1, 0):
        running = asyncio.create_task(Trash(tmp_path).run())
        async with asyncio.timeout(PATIENCE):
            while len(list(tmp_path.iterdir())) > left:
                await asyncio.sleep(0.01)
        running.cancel()
