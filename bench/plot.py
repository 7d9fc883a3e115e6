"""Draws a plot as SVG: for each comparison one bar per series, as long as its median, with its samples as dots."""

from __future__ import annotations

import statistics
from html import escape
from typing import TYPE_CHECKING, Final

from bench.result import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.result import Row

_WIDTH, _LEFT, _RIGHT = 860, 210, 90  # pixels: all of it, room for names, room for figures
_LINE, _HEAD = 24, 34  # heights of a series, and of a comparison's title
_OURS, _THEIRS = "#2563eb", "#94a3b8"
_DOTS: Final = 200  # maximum of samples drawn


def plot(rows: Sequence[Row]) -> str:
    """Draws the panels below each other, each with its own scale from 0."""
    parts: list[str] = []
    top = 0
    for row in rows:
        parts += _panel(row, top)
        top += _HEAD + _LINE * len(row.samples)
    height = top + 12
    style = "<style>text{font:13px system-ui,sans-serif;fill:#334155}.t{font-weight:600}</style>"
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', style, ground, *parts, "</svg>", ""])


def _panel(row: Row, top: int) -> list[str]:
    most = max(max(values) for values in row.samples.values()) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    parts = [f'<text class="t" x="8" y="{top + 24}">{escape(row.label)} [{escape(row.unit)}]</text>']
    for index, (name, values) in enumerate(row.samples.items()):
        middle = top + _HEAD + _LINE * index + _LINE // 2
        median = statistics.median(values)
        colour = _THEIRS if index else _OURS
        parts += [
            f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{middle - 8}" width="{median * scale:.1f}" height="16" fill="{colour}"/>',
            *(_dot(_LEFT + value * scale, middle) for value in values[:: len(values) // _DOTS + 1]),
            f'<text x="{_WIDTH - _RIGHT + 10}" y="{middle + 4}">{number(median)}</text>',
        ]
    return parts


def _dot(x: float, y: int) -> str:
    return f'<circle cx="{x:.1f}" cy="{y}" r="2.5" fill="#0f172a" fill-opacity=".45"/>'
