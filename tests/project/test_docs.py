"""The documents tell the truth: each command in them exists, with its flags, and each link leads somewhere."""

from __future__ import annotations

import re
import shlex
from functools import cache

import click
import pytest
from click.testing import CliRunner

from netvps.cli.app import COMMANDS, root
from netvps.cli.ui.groups import DefaultGroup
from tests.project.doc_pages import DOCUMENTS, ROOT, all_lines

_VARIABLE = re.compile(r"[A-Z_]+=\S*")
_OTHER_PROGRAMS = {"grpcurl", "ssh", "scp", "sftp", "systemctl", "rsync", "sudo", "install", "tar", "python3"}
_ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def _commands() -> list[tuple[str, str]]:
    """(document, line) of each command line in a block of shell, comments cut off."""
    found = []
    for document in DOCUMENTS:
        name = str(document.relative_to(ROOT))
        found += [(name, shlex.join(shlex.split(line, comments=True))) for line in all_lines(name)]
    return found


@cache
def _help(*words: str) -> str:
    answer = CliRunner().invoke(root, [*words, "--help"])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_there_are_commands_in_the_documents() -> None:
    assert {document for document, _ in _commands()} >= {"README.md", "docs/quickstart.md"}


def test_commands_exist_with_their_flags() -> None:
    for document, line in _commands():
        _check_command(document, line)


def _check_command(document: str, line: str) -> None:
    first, *words = (word for word in shlex.split(line) if not _VARIABLE.fullmatch(word))
    if first.startswith("scripts/"):
        assert (ROOT / first).stat().st_mode & 0o111, f"{document}: {first} cannot be run"
        return
    if first != "netvps":
        assert first in _OTHER_PROGRAMS, f"{document}: what is {first}?"
        return
    words = words[: words.index("--")] if "--" in words else words
    assert words[0] in COMMANDS, f"{document}: {line}"
    flags = [word for word in words if word.startswith("--")]
    if words[0] == "runner" and (len(words) == 1 or words[1].startswith("-")):
        reported = _help("runner", "run")
    else:
        reported = _help(*_path(words))
    for flag in flags:
        assert flag in reported, f"{document}: {line}"


def _path(words: list[str]) -> list[str]:
    """The words that name a command of groups."""
    command: click.Command | None = root
    path: list[str] = []
    while isinstance(command, click.Group) and len(path) < len(words):
        group, command = command, command.get_command(click.Context(command), words[len(path)])
        path += words[len(path) : len(path) + (command is not None)]
        if isinstance(group, DefaultGroup) and command is None:
            path.append(group.default)
    return path


def test_links_lead_somewhere() -> None:
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in DOCUMENTS
        for target in _LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert dead == []


def test_every_decision_is_in_the_list_in_madr_form() -> None:
    folder = ROOT / "docs/adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for decision in folder.glob("[0-9]*.md"):
        text = decision.read_text(encoding="utf-8")
        assert decision.name in listed
        for part in ("## Context", "## Options", "## Decision", "## Consequences"):
            assert part in text, f"{decision.name} has no {part}"


def _calls() -> list[tuple[str, str]]:
    """(file, name) of each function, method or class that a picture of the architecture names."""
    found = []
    for picture in re.findall(r"```mermaid\nsequenceDiagram\n(.*?)```", _ARCHITECTURE, re.DOTALL):
        files = dict(re.findall(r"participant (\w+) as (\S+\.py)", picture))
        found += [(files[end], name) for end, name in re.findall(r"(?<!-)->>(\w+): (\w+)", picture) if end in files]
    return found


@pytest.mark.parametrize(("file", "name"), _calls())
def test_what_a_picture_calls_is_defined_there(file: str, name: str) -> None:
    source = (ROOT / "netvps" / file).read_text()
    assert re.search(rf"^ *(async def|def|class) {name}\b", source, re.MULTILINE), f"{file} has no {name}"


@pytest.mark.parametrize("file", sorted(set(re.findall(r"\b(?:[a-z_]+/)+[a-z_]+\.py", _ARCHITECTURE))))
def test_a_file_of_the_architecture_exists(file: str) -> None:
    assert (ROOT / "netvps" / file).exists() or (ROOT / file).exists()
