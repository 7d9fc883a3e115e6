"""Snapshots through OpenSSH's sftp, and what no client of good will sends.

So it is the test of netvps.runner.browse.root and netvps.runner.browse.packets, too.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.errors import InvalidInput, TimedOut
from netvps.runner.browse import sftp
from netvps.runner.browse.sftp import SftpServer
from tests.fakes.snapshots import root_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[3]
INIT = struct.pack(">IBI", 5, 1, 3)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    (files / "etc").mkdir(parents=True)
    (files / "etc/motd").write_text("hello\n")
    (files / "etc/a b;'ü\udcff").write_text("odd\n")
    (files / "etc/out").symlink_to("/etc/shadow")
    (files / "big").write_bytes(os.urandom(300_000))
    for number in range(200):
        (files / "etc" / f"{number:03}").touch()
    made = tmp_path / "x.tar"
    subprocess.run(["tar", "-c", "--format=posix", "-f", str(made), "-C", str(files), "."], check=True)
    return made


def batch(archive: Path, *lines: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Each line fails alone, with the "-" of sftp's batches."""
    program = f"{sys.executable} -P -m tests.runner.browse.sftp_of_archive {archive}"
    return subprocess.run(
        ["sftp", "-q", "-b", "-", "-D", program],
        input="".join(f"-{line}\n" for line in lines),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
    )


def test_openssh_reads_a_snapshot(archive: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    ran = batch(
        archive,
        "pwd",
        "ls -a /",
        "ls -l /.snapshots",
        "cd /.snapshots/before",
        "ls etc",
        "get etc/motd",
        "get big",
        "get -r etc all",
        cwd=here,
    )
    assert "Remote working directory: /" in ran.stdout, ran
    assert "/.snapshots" in ran.stdout
    assert "dr-xr-xr-x" in ran.stdout
    assert "etc/199" in ran.stdout
    assert (here / "motd").read_text() == "hello\n"
    assert (here / "big").read_bytes() == (tmp_path / "files/big").read_bytes()
    assert len(list((here / "all").iterdir())) == 202  # all but the link
    assert (here / "all" / "a b;'ü\udcff").read_text() == "odd\n"


def test_nothing_is_changed_and_no_link_is_followed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    ran = batch(
        archive,
        "put mine /.snapshots/before/etc/motd",
        "rm /.snapshots/before/etc/motd",
        "mkdir /.snapshots/mine",
        "rename /.snapshots/before /.snapshots/after",
        "chmod 777 /.snapshots/before/etc/motd",
        "symlink /etc /.snapshots/before/l",
        "get /.snapshots/before/etc/out",
        "ls /.snapshots/before/etc/out/",
        "get /etc/passwd",
        "get /.snapshots/before/../../etc/passwd",
        "ls /.snapshots/gone",
        "ls /.snapshots/never",
        cwd=tmp_path,
    )
    assert ran.stderr.count("ermission denied") >= 6, ran.stderr
    assert "snapshot gone of session s is not here" in ran.stderr or "Failure" in ran.stderr
    assert not (tmp_path / "passwd").exists()
    assert not (tmp_path / "out").exists()


async def served(*received: bytes) -> bytes:
    """The answers to what is received."""

    async def incoming() -> AsyncIterator[bytes]:
        for one in received:
            yield one

    return b"".join([answer async for answer in SftpServer(root_with()).serve(incoming())])


def request(kind: int, *fields: bytes | int) -> bytes:
    packed = [struct.pack(">I", one) if isinstance(one, int) else struct.pack(">I", len(one)) + one for one in fields]
    body = bytes([kind]) + b"".join(packed)
    return struct.pack(">I", len(body)) + body


async def test_handles_are_few() -> None:
    opens = [request(11, number, b"/.snapshots") for number in range(70)]
    answers = await served(INIT, *opens)
    assert answers.count(b"files and folders are open") == 70 - 64


async def test_a_client_that_asks_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "IDLE_SECONDS", 0.01)

    async def silent() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    with pytest.raises(TimedOut, match="connect again"):
        async for _ in SftpServer(cast("Any", None)).serve(silent()):
            pass


async def test_a_packet_that_is_too_long_ends_it() -> None:
    with pytest.raises(InvalidInput, match="a packet of"):
        await served(INIT, struct.pack(">I", 1 << 20))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=8))
def test_any_requests_get_one_answer_each(requests: list[tuple[int, bytes]]) -> None:
    sent = [struct.pack(">IBI", len(body) + 5, kind, 7) + body for kind, body in requests]
    answers = asyncio.run(served(b"".join(sent)))
    count = 0
    while answers:
        size = int.from_bytes(answers[:4])
        answers, count = answers[4 + size :], count + 1
    assert count == len(requests)
