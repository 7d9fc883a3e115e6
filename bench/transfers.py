"""What `gateway` does over one ssh command line: streams, files, a typed byte beside streams."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.result import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT: Final = 300.0
"""Seconds that a transfer may take."""
_ENDLESS: Final = "exec cat /dev/zero"
_TYPED: Final = 200  # bytes of a measurement
_PAUSE: Final = 0.01


def run(command: list[str], stdin: int | None = subprocess.DEVNULL) -> None:
    """Runs a program to its end. Raises CalledProcessError, TimeoutExpired."""
    subprocess.run(command, stdin=stdin, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT)


def up(way: list[str], size: int) -> float:
    """Measures megabytes per second to the other end, including the login."""
    began = time.perf_counter()
    with subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        run([*way, "cat >/dev/null"], source.stdout.fileno())
    return size / 1e6 / (time.perf_counter() - began)


def down(way: list[str], size: int, at_once: int = 1) -> float:
    """Measures megabytes per second from the other end, of several logins together."""
    began = time.perf_counter()
    command = [*way, f"head -c {size} /dev/zero"]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(at_once)]
    for each in running:
        if each.wait(LIMIT):
            raise RuntimeError("a download failed")
    return at_once * size / 1e6 / (time.perf_counter() - began)


def sftp(way: list[str], *commands: str) -> None:
    """Runs commands of sftp's batch mode."""
    server = shlex.join([*way[:-1], "-s", way[-1], "sftp"])
    text = "\n".join(commands).encode()
    subprocess.run(["sftp", "-q", "-b", "-", "-D", server], input=text, stdout=-3, check=True, timeout=LIMIT)


def put(way: list[str], file: Path) -> float:
    """Measures megabytes per second of an upload by sftp, to a file that keeps nothing."""
    began = time.perf_counter()
    sftp(way, f"put {file} /dev/null")
    return file.stat().st_size / 1e6 / (time.perf_counter() - began)


def get(way: list[str], size: int) -> float:
    """Measures megabytes per second of a download by sftp, of a file without blocks."""
    run([*way, f"truncate -s {size} /root/bench"])
    began = time.perf_counter()
    sftp(way, "get /root/bench /dev/null")
    return size / 1e6 / (time.perf_counter() - began)


def small_files(way: list[str], folder: Path) -> float:
    """Measures the seconds in which a folder of small files is uploaded."""
    run([*way, "rm -rf /dev/shm/files; mkdir /dev/shm/files"])
    began = time.perf_counter()
    sftp(way, f"put -r {folder} /dev/shm/files")
    return time.perf_counter() - began


@contextlib.contextmanager
def downloads(way: list[str], count: int) -> Iterator[None]:
    """Downloads without an end while the block runs."""
    running = [
        subprocess.Popen([*way, _ENDLESS], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=-3)
        for _ in range(count)
    ]
    try:
        time.sleep(1.0)
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def typed_byte(way: list[str]) -> tuple[float, float]:
    """Measures the milliseconds until a typed byte comes back: the median, and the 99th percentile."""
    times = []
    with subprocess.Popen([*way, "exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(_TYPED):
            time.sleep(_PAUSE)
            began = time.perf_counter()
            process.stdin.write(b"x")
            process.stdout.read(1)
            times.append((time.perf_counter() - began) * 1000)
        process.stdin.close()
    return median(times), percentile(times, 99)
