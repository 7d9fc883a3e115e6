"""Writes the report of the measurements: a plot and a line for each comparison."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.plot import plot
from bench.result import Outcome, rounds, saved, spread, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER: Final = Path(__file__).parent.parent / "docs/benchmarks"
_HEAD: Final = """# Benchmarks

Written by `scripts/bench report`, of what `scripts/bench all` measured. netvps and its references run in turn
(A B A B …) on the same machine: **the ratios count**, absolute times are those of that machine on that day. Each dot is
a sample, the bar is the median, n is the number of samples of each series. Few samples, or a machine that others use at
the time, make it an indication and no more. A goal that is missed is a finding, and stays on this page.
"""


def write(benches: Iterable[str]) -> Path:
    """Writes sections and plots of the benchmarks that were run here, keeps the others, and returns the page's path."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    page = _FOLDER / "README.md"
    sections = _sections(page.read_text(encoding="utf-8")) if page.exists() else {}
    sections |= {bench: _section(outcome) for bench in benches if (outcome := saved(bench)) is not None}
    page.write_text("\n".join([_HEAD, *(sections[bench] for bench in benches if bench in sections)]), encoding="utf-8")
    return page


def _sections(page: str) -> dict[str, str]:
    """Returns each benchmark's section of an earlier page, as `_section` wrote it."""
    _, *parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    return {part.split()[1]: part.rstrip("\n") + "\n" for part in parts}


def _about(bench: str) -> str:
    """Returns a benchmark's description, its module docstring."""
    return inspect.cleandoc(importlib.import_module(f"bench.{bench}").__doc__ or "")


def _busy(outcome: Outcome) -> str:
    return "" if outcome.load is None else f"; load {outcome.load:g} at its end"


def _section(outcome: Outcome) -> str:
    file = f"{outcome.bench}.svg"
    (_FOLDER / file).write_text(plot(outcome.rows), encoding="utf-8")
    lines = [
        f"## {outcome.bench}\n",
        f"{_about(outcome.bench)}\n",
        f"{outcome.when:%Y-%m-%d}, on {outcome.machine}; {outcome.versions}{_busy(outcome)}.\n",
        f"![{outcome.bench}]({file})\n",
        "| comparison | medians | result |",
        "|---|---|---|",
    ]
    for row in outcome.rows:
        medians = "; ".join(f"{name}: {spread(all_)}" for name, all_ in row.samples.items())
        lines.append(f"| {row.label} ({row.unit}; {rounds(row)}) | {medians} | {verdict(row)} |")
    return "\n".join([*lines, ""])
