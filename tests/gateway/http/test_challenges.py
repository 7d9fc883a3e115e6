"""One folder is served to certificate authorities, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netvps.gateway.http.challenges import PATH, Challenges
from netvps.gateway.http.head import parse_request


@pytest.fixture
def webroot(tmp_path: Path) -> Path:
    folder = tmp_path / PATH.strip("/")
    (folder / "folder").mkdir(parents=True)
    (folder / "token-1_A").write_text("token-1_A.thumb")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "fifo")
    return tmp_path


def ask(webroot: Path, path: str, method: str = "GET") -> tuple[int, bytes]:
    head = parse_request(f"{method} {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
    answer = Challenges(webroot).answer(head)
    return answer.status, answer.content


def test_a_token_is_served(webroot: Path) -> None:
    for path in (f"{PATH}token-1_A", f"{PATH}token-1_A?x=1"):
        assert ask(webroot, path) == (200, b"token-1_A.thumb")


@pytest.mark.parametrize(
    "name",
    [
        *("", "other", "folder", "link", "fifo", "token-1_A/", "../secret", "../../secret", "..", "."),
        *("%2e%2e/secret", "folder/../token-1_A", "/token-1_A", "a" * 300, "token-1_A%00"),
    ],
)
def test_nothing_else_is(webroot: Path, name: str) -> None:
    assert ask(webroot, f"{PATH}{name}")[0] == 404


def test_only_reading_is(webroot: Path) -> None:
    assert ask(webroot, f"{PATH}token-1_A", "POST")[0] == 404
    assert ask(webroot / "none", f"{PATH}token-1_A")[0] == 404
