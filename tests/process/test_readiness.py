from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from tempfile import TemporaryDirectory

import pytest

from netvps.process.readiness import Outcome, Readiness, Signs, await_outcome
from netvps.tasks import Tasks


async def test_ready_is_reported_once() -> None:
    reading, writing = os.pipe()
    readiness = Readiness(writing)
    readiness.ready()
    readiness.failed("later", 1)
    assert await await_outcome(reading) == Outcome()


async def test_a_failure_is_reported_with_its_code() -> None:
    reading, writing = os.pipe()
    Readiness(writing).failed("port 2222 is taken", 10)
    assert await await_outcome(reading) == Outcome("port 2222 is taken", 10)


async def test_a_death_without_a_word_is_heard() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    assert await await_outcome(reading) is None


def test_no_caller_waits() -> None:
    Readiness(None).ready()
    reading, writing = os.pipe()
    os.close(reading)
    Readiness(writing).ready()


async def test_who_is_ready_shows_signs_of_life_and_not_before() -> None:
    reading, writing = os.pipe()
    readiness = Readiness(writing, beat_every=0.01)
    signs = await Signs.of(reading)
    async with Tasks() as tasks:
        tasks.start(readiness.beat(), name="beat")
        assert not await signs.beaten(0.1)
        readiness.ready()
        assert await signs.outcome() == Outcome()
        assert await signs.beaten(5)
    while await signs.beaten(0.05):
        pass  # what was on its way
    os.close(writing)
    with pytest.raises(EOFError):
        await signs.beaten(5)
    signs.close()


async def test_a_watcher_that_never_reads_blocks_no_other() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
    readiness = Readiness(writing, beat_every=0)
    readiness.ready()
    async with Tasks() as tasks:
        beating = tasks.start(readiness.beat(), name="beat")
        for _ in range(10_000):  # more than the pipe holds
            await asyncio.sleep(0)
        assert not beating.done()
    os.close(reading)
    os.close(writing)


def test_systemd_is_notified_where_no_other_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="nv-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{folder}/notify")
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        Readiness(None).ready()
        assert systemd.recv(64) == b"READY=1"
        assert "NOTIFY_SOCKET" not in os.environ  # the programs that it starts are not the unit's main process
