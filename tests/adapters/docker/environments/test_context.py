from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.docker.environments import context as module
from netvps.adapters.docker.environments.context import pack_context
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    for name in ("Dockerfile", "a.txt", "b.log", "sub/c.log", "sub/keep.log", "sub/deep/d.txt", "cache/e"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def files(folder: Path, dockerfile: str = "Dockerfile") -> set[str]:
    with pack_context(folder, dockerfile) as packed, tarfile.open(fileobj=packed) as archive:
        return {member.name for member in archive if not member.isdir()}


ALL = {"Dockerfile", "a.txt", "b.log", "sub/c.log", "sub/keep.log", "sub/deep/d.txt", "cache/e"}


@pytest.mark.parametrize(
    ("rules", "left_out"),
    [
        ("", set()),
        ("*.log", {"b.log"}),
        ("**/*.log", {"b.log", "sub/c.log", "sub/keep.log"}),
        ("**/*.log\n!sub/keep.log", {"b.log", "sub/c.log"}),
        ("# a comment\n\n  /sub/  \n", {"sub/c.log", "sub/keep.log", "sub/deep/d.txt"}),
        ("?.txt\ncache", {"a.txt", "cache/e"}),
        ("*", ALL - {"Dockerfile"}),
        ("Dockerfile", set()),
    ],
)
def test_dockers_rules_say_what_is_left_out(folder: Path, rules: str, left_out: set[str]) -> None:
    (folder / ".dockerignore").write_text(rules)
    assert files(folder) - {".dockerignore"} == ALL - left_out


def test_links_are_packed_as_links_and_sockets_are_not(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    with pack_context(folder, "Dockerfile") as packed, tarfile.open(fileobj=packed) as archive:
        assert archive.getmember("link").issym()


def test_another_dockerfile_may_be_named_if_it_is_in_the_folder(folder: Path) -> None:
    (folder / "sub/Other").write_text("FROM scratch")
    assert "sub/Other" in files(folder, "sub/Other")
    for wrong in ("none", "../context/Dockerfile/..", "/etc/passwd", "sub"):
        with pytest.raises(InvalidInput, match="--file"):
            pack_context(folder, wrong)


def test_a_folder_that_is_too_large_names_its_biggest_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXT", 10)
    with pytest.raises(InvalidInput, match=r"the biggest are sub/deep/d\.txt"):
        pack_context(folder, "Dockerfile")


def test_what_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        pack_context(folder / "none", "Dockerfile")

    def refuse(_path: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(InvalidInput, match=r"cannot read .*: Permission denied"):
        pack_context(folder, "Dockerfile")
