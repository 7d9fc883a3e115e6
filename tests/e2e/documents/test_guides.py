"""Every command of the quick start, run in order, as the people that they are for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.documents.printed import people, run_printed, run_until, words_of
from tests.e2e.system import System, new_system
from tests.project.doc_pages import run_lines

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture
def system(debian: str) -> Iterator[System]:
    made = new_system()
    try:
        made.up("--default-image", debian)
        yield made
    finally:
        made.destroy()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where people are when they type; short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="nvg-") as name:
        yield Path(name)


def _lines(document: str) -> list[str]:
    return [line for line in run_lines(document) if not line.startswith("scripts/")]  # those are what CI itself runs


def test_the_quick_start(system: System, debian: str, folder: Path) -> None:
    owner, alice, machine = people(system, folder)
    person, key = owner, b""
    (owner.home / "file").write_text("a file")
    for line in _lines("docs/quickstart.md"):
        words = words_of(line, system, debian)
        match words[1:]:
            case ["watch"]:
                run_until(owner, words, b"web")
            case ["forward", *_]:
                run_until(owner, words, b"leads to port")
            case ["up", *flags]:
                system.netvps("down")
                system.up("--default-image", debian, *flags)
            case ["login", *_]:
                person = alice
                run_printed(alice, words, input=key)
            case ["runner", "join-token"]:
                person = owner
                (machine.home / "token").write_bytes(run_printed(owner, words).stdout)
            case ["runner", "--server", *_]:
                run_until(machine, [*words, "--name", "second"], b'"connected"')
                run_until(machine, ["netvps", "runner"], b'"connected"')  # docs/install.md: it joined once
            case _:
                key = run_printed(person, words).stdout
    assert b"second" in owner.netvps("runner", "ls").stdout
    assert owner.netvps("ssh", "web", "--", "cat", "/root/file").stdout == b"a file"
    for name in owner.netvps("ls", "--all", "-o", "name").stdout.decode().split():
        owner.netvps("rm", "--yes", name)
    system.netvps("down")
    assert system.traces() == []
