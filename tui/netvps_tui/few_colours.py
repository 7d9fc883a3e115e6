"""The theme on terminals of 256 or 16 colours.

Left to the terminal library, dark greys become black, so the row of the cursor vanishes; of 16 colours, all states but
FAILED get the same one.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rich.color import Color, ColorSystem, ColorType
from rich.segment import Segment
from rich.style import Style
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color as TextualColor

_STEPS: Final = (0, 95, 135, 175, 215, 255)
"""Red, green and blue of the 216 colours of a terminal of 256."""
_BLACK, _BLUE, _CYAN, _WHITE, _GREY, _BRIGHT = 0, 4, 6, 7, 8, 15
_HUES: Final = (1, 3, 2, 6, 4, 5)
"""Red, yellow, green, cyan, blue and magenta of the 16, 60 degrees apart."""
_GREYISH: Final = 0.25
"""Saturation below which a colour is a grey."""
_FRONTS: Final = ((0.2, _BLACK), (0.45, _GREY), (0.9, _WHITE), (1.1, _BRIGHT))
"""What a grey becomes that is darker than this."""
_BACKS: Final = ((0.14, _BLACK), (0.5, _BLUE), (1.1, _WHITE))
"""The same behind text: what stands out from the page is blue, as grey on grey cannot be read."""


class FewColours(LineFilter):
    """Gives each colour of the screen the nearest of the terminal's."""

    def __init__(self, system: ColorSystem) -> None:
        """`system` is EIGHT_BIT (256) or STANDARD (16)."""
        super().__init__()
        self._style = lru_cache(1024)(_style16 if system is ColorSystem.STANDARD else _style256)

    def apply(self, segments: list[Segment], background: TextualColor) -> list[Segment]:
        """The segments of a line in those colours."""
        return [
            Segment(text, self._style(style) if style is not None else None, control)
            for text, style, control in segments
        ]


def of_terminal(color_system: str | None) -> FewColours | None:
    """The filter for a terminal, by the name of its colours (rich.console.Console.color_system)."""
    system = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT}.get(color_system or "")
    return None if system is None else FewColours(system)


def _style256(style: Style) -> Style:
    return style + Style(color=_nearest256(style.color), bgcolor=_nearest256(style.bgcolor))


def _nearest256(color: Color | None) -> Color | None:
    """The nearest of the cube and of the ramp of greys."""
    if color is None or color.type is not ColorType.TRUECOLOR or color.triplet is None:
        return color
    red, green, blue = color.triplet

    def distance(number: int) -> int:
        shade = 8 + 10 * (number - 232)
        cube = divmod(number - 16, 36)
        parts = (cube[0], *divmod(cube[1], 6))
        there = (shade,) * 3 if number >= 232 else tuple(_STEPS[part] for part in parts)  # noqa: PLR2004 — the first grey
        return (there[0] - red) ** 2 + (there[1] - green) ** 2 + (there[2] - blue) ** 2

    return Color.from_ansi(min(range(16, 256), key=distance))


def _style16(style: Style) -> Style:
    front, back = _number16(style.color, back=False), _number16(style.bgcolor, back=True)
    if style.reverse:
        front, back = _number16(style.color, back=True), _number16(style.bgcolor, back=False)
    if front == _GREY and back not in {None, _BLACK}:
        front = _WHITE
    if front is not None and front == back:  # below a dialog, text is dimmed: grey, and not brighter than before
        front = _BLACK if front >= _WHITE else _GREY if front == _BLACK else _BRIGHT
    if back == _CYAN and front in {_WHITE, _BRIGHT}:
        front = _BLACK
    return style + Style(
        color=style.color if front is None else Color.from_ansi(front),
        bgcolor=style.bgcolor if back is None else Color.from_ansi(back),
    )


def _number16(color: Color | None, *, back: bool) -> int | None:
    """The one of the 16 that stands for a colour; None for one that is the terminal's own."""
    if color is None or color.type is not ColorType.TRUECOLOR or color.triplet is None:
        return None
    hue, light, saturation = colorsys.rgb_to_hls(*(part / 255 for part in color.triplet))
    if saturation >= _GREYISH and light >= 0.15:  # noqa: PLR2004 — less is black
        return _HUES[round(hue * 6) % 6]
    return next(number for limit, number in (_BACKS if back else _FRONTS) if light < limit)
