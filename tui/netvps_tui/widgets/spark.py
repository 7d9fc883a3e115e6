"""A sparkline in one line of text: the last minute of a number, and what it is now."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from textual.content import Content

from netvps_tui.theme import accessible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BARS: Final = " ▁▂▃▄▅▆▇█"
_SAMPLES: Final = 60


class Series:
    """The last minute of one number."""

    def __init__(self, label: str, words: Callable[[float], str]) -> None:
        self._label, self._words = label, words
        self._values: deque[float] = deque(maxlen=_SAMPLES)

    def add(self, value: float) -> None:
        """The value of another second."""
        self._values.append(value)

    def line(self, width: int, ceiling: float = 0.0) -> Content:
        """The label, the sparkline up to `ceiling` (0: the highest value), and the last value."""
        if not self._values:
            return Content.assemble((self._label.ljust(9), "$faint"), ("not measured", "$faint"))
        bars = "" if accessible() else spark(list(self._values)[-width:], ceiling or max(self._values)).rjust(width)
        return Content.assemble(
            (self._label.ljust(9), "$faint"), (bars, "$accent"), (f"  {self._words(self._values[-1])}", "$foreground")
        )


def spark(values: Sequence[float], highest: float) -> str:
    """A bar for each value, from nothing to `highest`."""
    top = len(_BARS) - 1
    if highest <= 0:
        return _BARS[1] * len(values)
    return "".join(_BARS[max(1, min(top, round(value / highest * top)))] for value in values)
