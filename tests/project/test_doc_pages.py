"""The documents hold together: links, anchors, the index, the words of errors, and which commands are run."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.project.doc_pages import DOCUMENTS, NOT_USED, ROOT, RUN, all_lines, run_lines

_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#([^)]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")
_PAGES = [page for page in DOCUMENTS if page.parent == ROOT / "docs" or page.parent == ROOT]
_SAID_BY_SSH = "Said by ssh."


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(page for page in pages if f"({page})" not in index) == []


def test_anchors_exist() -> None:
    for document in DOCUMENTS:
        for target, anchor in _LINK.findall(document.read_text(encoding="utf-8")):
            page = (document.parent / target).resolve() if target else document
            assert anchor in _anchors(page), f"{document.relative_to(ROOT)}: {target}#{anchor}"


@cache
def _anchors(page: Path) -> set[str]:
    """Of each heading, as GitHub makes them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def test_words_are_plain() -> None:
    found = []
    for document in _PAGES:
        text = _CODE.sub("", _BLOCK.sub("", document.read_text(encoding="utf-8")))
        found += [f"{document.name}: {match[0]}" for match in re.finditer(NOT_USED, text, re.IGNORECASE)]
    assert found == []


def test_commands_that_are_printed_are_run() -> None:
    """Or their block begins with ```sh unrun."""
    pages = {str(page.relative_to(ROOT)) for page in DOCUMENTS}
    printed = {page for page in pages if any("scripts/" not in line for line in run_lines(page))}
    assert printed == RUN.keys()
    for test in set(RUN.values()):
        assert list((ROOT / "tests/e2e").rglob(test))


def test_most_commands_are_run() -> None:
    pages = [str(page.relative_to(ROOT)) for page in DOCUMENTS]
    assert sum(len(run_lines(page)) for page in pages) > sum(len(all_lines(page)) for page in pages) / 2


def _quoted_errors() -> list[str]:
    """The messages that docs/problems.md explains, and those at the items of docs/network.md."""
    problems, network = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("problems.md", "network.md"))
    headings = re.finditer(r"^#### `(?P<message>.*)`\n\n(?P<first>.*)$", problems, re.MULTILINE)
    items = re.findall(r"^- `([^`]*(?: [^`]*){2})`", network, re.MULTILINE)
    return [found["message"] for found in headings if not found["first"].startswith(_SAID_BY_SSH)] + items


@pytest.mark.parametrize("message", _quoted_errors())
def test_an_error_that_is_explained_exists(message: str) -> None:
    """`…` stands for what differs; what is between can be put together from several texts."""
    parts = [part.strip(" :/") for part in message.split("…") if part.strip(" :/")]
    assert all(any(part in text for text in _literals()) for part in parts), (
        "the code has no such message: put the new words into docs/problems.md or docs/network.md"
    )


@cache
def _literals() -> list[str]:
    """Every text of the code; what is put in at run time is …"""
    found = [path.read_text(encoding="utf-8") for path in (ROOT / "tunnel").rglob("*.go")]
    for path in (ROOT / "netvps").rglob("*.py"):
        if "api" not in path.relative_to(ROOT).parts:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [_text(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)]
    return found


def test_messages_are_plain() -> None:
    """What an error says is read by people, who should not read it twice."""
    found = []
    for path in (ROOT / "netvps").rglob("*.py"):
        raised = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
        texts = {_text(part) for node in raised for part in ast.walk(node) if isinstance(part, ast.Constant)}
        found += [f"{path.name}: {text}" for text in sorted(texts) if re.search(NOT_USED, text)]
    assert found == []


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(value) if isinstance(value, ast.Constant) else "…" for value in values)
        case _:
            return ""
