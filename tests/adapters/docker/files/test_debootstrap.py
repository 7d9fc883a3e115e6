"""The commands, and the progress that is shown; scripts/up runs all of it."""

from __future__ import annotations

import io
import tarfile

from netvps.adapters.apt_sources import AptSource, Distribution
from netvps.adapters.docker.files.debootstrap import _command, _empty_root, _progress_line

OWN = Distribution("bookworm", (AptSource("http://m.example/debian", "bookworm", ("main",)),))


def test_the_image_has_the_machines_own_lists() -> None:
    command = _command("bookworm", "http://m.example/debian", OWN)
    assert "bookworm /target http://m.example/debian\n" in command
    assert "'deb http://m.example/debian bookworm main' > /target/etc/apt/sources.list" in command


def test_another_release_has_lists_of_its_own_and_nothing_is_run_by_a_name() -> None:
    command = _command("trixie; reboot", "http://o.example/debian", OWN)
    assert "'trixie; reboot' /target http://o.example/debian\n" in command
    assert "'deb http://o.example/debian trixie; reboot main'" in command


def test_progress_is_counted() -> None:
    counts: dict[str, int] = {}
    lines = [
        "I: Retrieving tar 1.34",
        "I: Validating tar 1.34",
        "W: hm",
        "I: Retrieving sed 4.9",
        "I: Unpacking tar...",
    ]
    assert [shown for line in lines if (shown := _progress_line(line, counts))] == [
        "retrieving packages: 1",
        "retrieving packages: 2",
        "unpacking packages: 1",
    ]


def test_the_root_it_runs_in_has_nothing_but_places() -> None:
    with tarfile.open(fileobj=io.BytesIO(_empty_root())) as archive:
        assert {"usr", "etc", "target"} <= set(archive.getnames())
        assert not any(entry.isfile() for entry in archive)
