"""For commands that become another program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Became(BaseException):
    """This process would be that one now."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that this process would have become: the program's name, then its arguments."""
    lines: list[list[str]] = []

    def execv(program: str, line: list[str]) -> None:
        lines.append([Path(program).name, *line[1:]])
        raise Became

    monkeypatch.setattr(os, "execv", execv)
    return lines
