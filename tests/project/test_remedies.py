"""Each remedy that netvps prints is one that can be done: its commands exist, with these flags and arguments."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from netvps.cli.app import COMMANDS, root
from tests.support.command_lines import problem

ROOT = Path(__file__).parents[2]
_QUOTED = re.compile(r"`([^`\n]+)`")
_NAMED = re.compile(r"(?<!a )(?<![\w/.`'-])netvps((?: [\w{}:.=…-]+)+)")
_EXAMPLE = re.compile(r"Example: netvps (.*)")
_FLAG = re.compile(r"--?[a-z][a-z-]*")
_PLACE = re.compile(r"[A-Z][A-Z_]*(?::\w+)?|[\d.]+|\.\.\.|…")
"""What a person fills in, and what the program does: X."""
_SHELL = frozenset(
    {"apt", "chmod", "docker", "dockerd", "export", "journalctl", "loginctl", "modprobe", "mv", "pip", "scripts/up",
     "scripts/wheel", "ss", "ssh", "sudo", "sysctl", "systemctl", "timedatectl", "usermod"}
)  # fmt: skip
_DANGEROUS = re.compile(r"\bprune\b|rm -r|mkfs|dd if=|chmod -R|chmod 777|kill -9|--privileged|setenforce")
_LOOKED_AT = (
    "end its processes as root (kill -9 X)",  # processes of one container, by its whole id, that its engine lost
    "not by `docker system prune` or `docker volume prune`",  # a warning of it
    "`docker system prune` and `docker volume prune` there remove such",  # a warning of it
    "(docker container prune?)",  # what happened, most likely
    "docker volume prune does that",  # what happened, most likely
)


def _strings(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string of a module that is no docstring; what is filled in is X."""
    nodes = [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    skipped = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values),
            )
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, re.sub(r"\{\w+\}", "X", node.value)


@cache
def _texts() -> list[tuple[str, str]]:
    files = sorted(path for path in (ROOT / "netvps").rglob("*.py") if "api" not in path.parts)
    return [
        (f"{file.relative_to(ROOT)}:{line}", text)
        for file in files
        if not file.name.startswith("reference")  # pages of docs/, which tests/project/test_docs.py reads
        for line, text in _strings(file)
    ]


def _cut(words: list[str]) -> list[str]:
    """The words of a command in the middle of a sentence: until the first that is no argument."""
    group: click.Command | None = root
    for index, word in enumerate(words):
        if isinstance(group, click.Group):
            if (inner := group.get_command(click.Context(group), word)) is not None:
                group = inner
                continue
            return words[:index]
        if not (_FLAG.fullmatch(word) or _PLACE.fullmatch(word)):
            return words[:index]
    return words


@cache
def _remedies() -> list[tuple[str, str]]:
    """(place, command) of each command of netvps that a text names."""
    found: dict[tuple[str, str], None] = {}
    for place, text in _texts():
        for quoted in _QUOTED.findall(text):
            if quoted.startswith("netvps "):
                found[place, quoted.removeprefix("netvps ")] = None
        for example in _EXAMPLE.findall(text):
            found[place, example] = None
        for named in _NAMED.findall(_EXAMPLE.sub("", _QUOTED.sub("", text))):
            if words := _cut(named.split()):
                found[place, " ".join(words)] = None
    return [*found]


def test_there_are_remedies() -> None:
    assert len(_remedies()) > 80
    assert {"up", "doctor", "login HOST", "up --install"} & {command for _, command in _remedies()}


def test_commands_of_netvps_exist_with_their_flags_and_arguments() -> None:
    wrong = []
    for place, command in _remedies():
        words = [word for word in shlex.split(command) if word not in {"...", "…"}]
        if place.startswith("netvps/programs/wiring/running.py:"):
            words.remove("X")  # flags
        if found := problem(words):
            wrong.append(f"{place}: netvps {command}: {found}")
    assert wrong == []


@pytest.mark.parametrize(
    "command",
    ["nothing", "up --no-such-flag", "up --listen", "runner nothing", "rename a b c", "key add a b c", "down X"],
)
def test_a_command_that_does_not_exist_would_be_found(command: str) -> None:
    assert problem(command.split()) != ""


def test_no_remedy_destroys_what_it_should_save() -> None:
    found = [
        f"{place}: {text}"
        for place, text in _texts()
        if "\n" not in text and " " in text and _DANGEROUS.search(text) and not any(part in text for part in _LOOKED_AT)
    ]
    assert found == []


def test_other_programs_that_a_remedy_names_are_known() -> None:
    """A new one is added here by whoever has seen that it is the right one on the machines that netvps supports."""
    unknown = []
    for place, text in _texts():
        for quoted in _QUOTED.findall(text):
            first = quoted.split()[0]
            if " " in quoted and first.islower() and first not in {"netvps", *_SHELL, *COMMANDS}:
                unknown.append((place, quoted))
    assert unknown == []
