"""Tests mirror the source: netvps/x/y.py is tested by tests/x/test_y.py; and no file is two ideas long."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 400
CROWDED = 15
# Tests of the whole, which mirror no one file.
WHOLE = {"test_isolation", "test_borders"}  # of the overlay, by its packet filter
WHOLE |= {"test_exit_codes", "test_mistakes"}  # of every command


TREES = {"netvps": (ROOT / "netvps", ROOT / "tests"), "netvps_tui": (ROOT / "tui/netvps_tui", ROOT / "tests/tui")}
"""Where a package and its tests are."""


def _sources() -> list[Path]:
    """Source files, each with its package first: netvps/domain/uid.py."""
    return sorted(
        package / path.relative_to(tree)
        for package, (tree, _) in ((Path(name), trees) for name, trees in TREES.items())
        for path in tree.rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"} and not {"api", "migrations"} & set(path.parts)
    )


def _tests() -> list[Path]:
    return sorted(path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py"))


def _own_files() -> list[Path]:
    found: list[Path] = [ROOT / "hatch_build.py"]
    folders = {
        "netvps": "*.py",
        "tui": "*.py",
        "bench": "*.py",
        "tests": "*.py",
        "tunnel": "*.go",
        "scripts": "*",
        "proto": "*.proto",
    }
    for folder, pattern in folders.items():
        found += [path for path in (ROOT / folder).rglob(pattern) if path.is_file()]
    generated = {"netvps/api", "tunnel/api"}
    return sorted(p for p in found if not any(str(p.relative_to(ROOT)).startswith(g) for g in generated))


def _mirrors(test: Path) -> bool:
    if test.stem in WHOLE or test.parts[0] in {"e2e", "history", "project"}:
        return True
    package = "netvps_tui" if test.parts[0] == "tui" else "netvps"
    tree, tests = TREES[package]
    source = tree / (ROOT / "tests" / test).parent.relative_to(tests) / test.stem.removeprefix("test_")
    return source.with_suffix(".py").is_file() or source.is_dir()


def test_every_test_file_mirrors_a_source_file() -> None:
    assert [f"tests/{test}" for test in _tests() if not _mirrors(test)] == []


@cache
def _texts(layer: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in layer.rglob("*.py"))


def _is_tested(source: Path) -> bool:
    tree, tests = TREES[source.parts[0]]
    inner = source.relative_to(source.parts[0])
    if "def " not in (tree / inner).read_text(encoding="utf-8"):
        return True
    in_layer = len(inner.parts) > 1 and source.parts[0] == "netvps"
    folder, layer = tests / inner.parent, tests / inner.parts[0] if in_layer else tests
    return (folder / f"test_{source.name}").is_file() or ".".join(source.with_suffix("").parts) in _texts(layer)


def test_every_source_file_is_tested() -> None:
    """By a file of its own, or by a test of its layer that imports it; declarations alone need no test."""
    assert [str(source) for source in _sources() if not _is_tested(source)] == []


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in _own_files()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_folder_is_crowded() -> None:
    # alembic finds the migrations of one folder, which only grows
    folders = [path for name in ("netvps", "tests", "tui") for path in (ROOT / name).rglob("*") if path.is_dir()]
    counts = {
        str(path.relative_to(ROOT)): len(list(path.glob("*.py")))
        for path in folders
        if not {"api", "versions"} & set(path.parts)
    }
    assert {name: count for name, count in counts.items() if count > CROWDED} == {}
