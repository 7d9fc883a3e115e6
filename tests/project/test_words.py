"""The words that CONTRIBUTING.md does without are not used in code and comments either."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.project.doc_pages import NOT_USED, ROOT

_FOLDERS = {"netvps": "*.py", "tunnel": "*.go", "proto": "*.proto", "bench": "*.py"}


def _files() -> list[Path]:
    files = [path for folder, pattern in _FOLDERS.items() for path in sorted((ROOT / folder).rglob(pattern))]
    return [
        path
        for path in files
        if not {"api", "testdata"} & set(path.relative_to(ROOT).parts[:-1]) or path.suffix == ".proto"
    ]


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_plain(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    used = [
        f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if re.search(NOT_USED, line, re.IGNORECASE)
    ]
    assert used == []


def _prose(source: str) -> list[tuple[int, str]]:
    """Comments, docstrings and names of Python code, with their lines; strings may quote what programs print."""
    kinds = {tokenize.COMMENT, tokenize.NAME, tokenize.STRING}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type in kinds]
    return [
        (token.start[0], token.string.replace("_", " ") if token.type == tokenize.NAME else token.string)
        for token in tokens
        if token.type != tokenize.STRING or token.string.startswith('"""')
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_of_tests_are_plain(path: Path) -> None:
    said = _prose(path.read_text(encoding="utf-8"))
    assert [(line, text) for line, text in said if re.search(NOT_USED, text, re.IGNORECASE)] == []
