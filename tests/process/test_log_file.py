"""A log that grows, at rest and while it is written to."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from netvps.process.log_file import keep_bounded, rotate_if_too_long
from netvps.tasks import Tasks
from tests.support.patience import PATIENCE


@contextmanager
def own_log(file: Path) -> Iterator[TextIO]:
    """Our standard error goes to the file, as that of a program in the background; not in a fixture: pytest's own."""
    stream = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", buffering=1)
    with stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield stream


def read(file: Path) -> str:
    """Its content; '' while it is not there."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def test_only_a_long_log_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "up.log"
    rotate_if_too_long(file, 10)  # there is none
    file.write_text("short")
    rotate_if_too_long(file, 10)
    assert file.exists()
    file.write_text("rather long")
    rotate_if_too_long(file, 10)
    assert not file.exists()
    assert (tmp_path / "up.log.1").read_text() == "rather long"


def test_four_rotated_logs_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "up.log"
    for number in range(6):
        file.write_text(f"the {number}. log")
        rotate_if_too_long(file, 5)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {f"up.log.{age}": f"the {6 - age}. log" for age in range(1, 5)}


async def test_a_log_that_is_written_to_begins_again(tmp_path: Path) -> None:
    file, older = tmp_path / "up.log", tmp_path / "up.log.1"
    async with asyncio.timeout(PATIENCE), Tasks() as tasks:
        with own_log(file) as stream:
            tasks.start(keep_bounded(file, limit=100, every=0.01), name="bound")
            for number in range(3):
                stream.write(f"line {number} {'x' * 200}\n")
                while not (f"line {number}" in read(older) and file.stat().st_size < 100):
                    await asyncio.sleep(0.01)
            stream.write("last\n")
            await tasks.cancel()
    assert file.read_text() == "last\n"  # at its new beginning, with no hole before it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["up.log", "up.log.1", "up.log.2", "up.log.3"]


async def test_a_disk_that_is_full_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.Event()
    loop = asyncio.get_running_loop()

    def full(*_: object) -> None:
        loop.call_soon_threadsafe(tried.set)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    async with asyncio.timeout(PATIENCE), Tasks() as tasks:
        with own_log(tmp_path / "up.log") as stream:
            stream.write(f"{'x' * 200}\n")
            tasks.start(keep_bounded(tmp_path / "up.log", limit=100, every=0.01), name="bound")
            await tried.wait()
            await tasks.cancel()
    assert (tmp_path / "up.log").read_text() == f"{'x' * 200}\n"


async def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "up.log").write_text("x" * 200)
    await asyncio.wait_for(keep_bounded(tmp_path / "up.log", limit=100), PATIENCE)
    await asyncio.wait_for(keep_bounded(tmp_path / "none.log", limit=100), PATIENCE)
    assert (tmp_path / "up.log").stat().st_size == 200
