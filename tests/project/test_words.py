"""The words that CONTRIBUTING.md does without are not used in code and comments either."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

from tests.project.doc_pages import NOT_USED, ROOT

_USED = re.compile(NOT_USED, re.IGNORECASE)
_FOLDERS = {"netvps": "*.py", "tunnel": "*.go", "proto": "*.proto", "bench": "*.py"}


def _files() -> list[Path]:
    files = [path for folder, pattern in _FOLDERS.items() for path in sorted((ROOT / folder).rglob(pattern))]
    return [
        path
        for path in files
        if not {"api", "testdata"} & set(path.relative_to(ROOT).parts[:-1]) or path.suffix == ".proto"
    ]


def test_words_are_plain() -> None:
    used = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _files()
        if _USED.search(text := path.read_text(encoding="utf-8"))
        for number, line in enumerate(text.splitlines(), 1)
        if _USED.search(line)
    ]
    assert used == []


def _prose(source: str) -> list[tuple[int, str]]:
    """Comments, docstrings and names of Python code, with their lines; strings may quote what programs print."""
    if not _USED.search(source.replace("_", " ")):
        return []
    kinds = {tokenize.COMMENT, tokenize.NAME, tokenize.STRING}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type in kinds]
    return [
        (token.start[0], token.string.replace("_", " ") if token.type == tokenize.NAME else token.string)
        for token in tokens
        if token.type != tokenize.STRING or token.string.startswith('"""')
    ]


def test_words_of_tests_are_plain() -> None:
    used = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, text in _prose(path.read_text(encoding="utf-8"))
        if _USED.search(text)
    ]
    assert used == []
