"""Manual pages say what the help says."""

from __future__ import annotations

from pathlib import Path

import click

from netvps import exit_codes
from netvps.cli.app import COMMANDS, root
from netvps.cli.help.man import page, pages
from tests.cli.conftest import Run


def test_there_is_a_page_for_each_command(run: Run, tmp_path: Path) -> None:
    ran = run("man-pages", str(tmp_path / "man1"))
    names = {path.name for path in (tmp_path / "man1").iterdir()}
    assert names >= {"netvps.1", "netvps-runner-sweep.1", *(f"netvps-{name}.1" for name in COMMANDS)}
    assert len(ran.out.splitlines()) == len(names)


def test_a_page_has_the_text_the_options_and_the_exit_codes_of_the_command() -> None:
    text = dict(pages(root))["netvps-create"]
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"):
        assert f".SH {heading}\n" in text
    assert "\\-\\-memory SIZE" in text
    assert "netvps create dev1 \\-\\-memory 2G" in text
    assert f".B {exit_codes.INTERRUPTED}\n" in text
    assert "Each flag can also be a variable (NETVPS_SSH_PORT)" in dict(pages(root))["netvps-server"]


def test_no_text_is_taken_for_a_request_of_the_formatter() -> None:
    command = click.Command("x", help="First.\n\n.so /etc/passwd\n\n'a \\fB")
    text = page(command, click.Context(command, info_name="x"))
    assert "\\&.so /etc/passwd" in text
    assert "\\&'a \\efB" in text


def test_a_folder_that_cannot_be_written_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("man-pages", str(tmp_path / "file" / "man1"))
    assert ran.code == exit_codes.CONFIGURATION
    assert "name another folder" in ran.err
