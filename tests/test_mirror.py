"""Tests mirror the source: netvps/x/y.py is tested by tests/x/test_y.py; and no file is two ideas long."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST = 400
# Tests of the whole, which mirror no one file.
WHOLE = {
    "test_layers",
    "test_mirror",
    "test_docs",
    "test_doc_pages",
    "test_packaging",
    "test_scripts",
    "test_lab",
    "test_bench",
}
WHOLE |= {"test_remedies", "test_isolation", "test_borders", "test_fuzz"}  # of the overlay, by its packet filter
WHOLE |= {"test_mistakes"}  # of the command line


def _sources() -> list[Path]:
    files = [p for p in (ROOT / "netvps").rglob("*.py") if p.name not in {"__init__.py", "__main__.py"}]
    return sorted(p.relative_to(ROOT / "netvps") for p in files if not {"api", "migrations"} & set(p.parts))


def _tests() -> list[Path]:
    return sorted(path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py"))


def _own_files() -> list[Path]:
    found: list[Path] = [ROOT / "hatch_build.py"]
    folders = {"netvps": "*.py", "bench": "*.py", "tests": "*.py", "tunnel": "*.go", "scripts": "*", "proto": "*.proto"}
    for folder, pattern in folders.items():
        found += [path for path in (ROOT / folder).rglob(pattern) if path.is_file()]
    generated = {"netvps/api", "tunnel/api"}
    return sorted(p for p in found if not any(str(p.relative_to(ROOT)).startswith(g) for g in generated))


@pytest.mark.parametrize("test", _tests(), ids=str)
def test_every_test_file_mirrors_a_source_file(test: Path) -> None:
    if test.stem in WHOLE or test.parts[0] in {"e2e", "history"}:
        return
    name = test.stem.removeprefix("test_")
    source = ROOT / "netvps" / test.parent / name
    assert source.with_suffix(".py").is_file() or source.is_dir(), f"tests/{test} tests nothing called {name}"


@pytest.mark.parametrize("source", _sources(), ids=str)
def test_every_source_file_is_tested(source: Path) -> None:
    """By a file of its own, or by a neighbour of that which imports it; declarations alone need no test."""
    if "def " not in (ROOT / "netvps" / source).read_text(encoding="utf-8"):
        return
    folder = ROOT / "tests" / source.parent
    module = ".".join(("netvps", *source.with_suffix("").parts))
    by_a_neighbour = any(module in path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    assert (folder / f"test_{source.name}").is_file() or by_a_neighbour, f"write {folder}/test_{source.name}"


@pytest.mark.parametrize("path", _own_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
