"""Colours and glyphs of the terminal UI: those of netvps.display, on one calm background with one accent."""

from __future__ import annotations

import os
from typing import Final

from rich.style import Style
from textual.theme import Theme

from netvps.display.palette import RGB, Look, Tone, look

ACCENT: Final = "#6cb6d9"
THEME: Final = Theme(
    name="netvps",
    primary=ACCENT,
    secondary="#8a94a8",
    accent=ACCENT,
    success=RGB[Tone.GOOD],
    warning=RGB[Tone.BUSY],
    error=RGB[Tone.BAD],
    foreground="#d5d9e0",
    background="#14171c",
    surface="#191d23",
    panel="#20252d",
    dark=True,
    variables={
        "block-cursor-background": ACCENT,
        "footer-background": "#191d23",
        "footer-key-foreground": ACCENT,
        "footer-description-foreground": "#8a94a8",
        "input-selection-background": "#6cb6d9 30%",
        "scrollbar": "#2b313b",
        "scrollbar-hover": "#3a4250",
        "scrollbar-active": ACCENT,
        "scrollbar-background": "#14171c",
        "scrollbar-background-hover": "#14171c",
        "scrollbar-background-active": "#14171c",
        "scrollbar-corner-color": "#14171c",
        "muted": "#8a94a8",
        "faint": "#5c6575",
    },
)
MUTED: Final = Style(color="#8a94a8")
FAINT: Final = Style(color="#5c6575")
STRONG: Final = Style(bold=True)
STYLES: Final = {tone: Style(color=colour) for tone, colour in RGB.items()}


def accessible() -> bool:
    """Whether NETVPS_ACCESSIBLE asks for plain text: no glyphs, no animation, no colour."""
    return bool(os.environ.get("NETVPS_ACCESSIBLE"))


def glyph(shown: Look) -> str:
    """The glyph of a state on this terminal."""
    utf = "utf" in (os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "utf").lower()
    return shown.glyph if utf and not accessible() else shown.plain


def state_words(state: str) -> tuple[str, Style]:
    """A state as its glyph and word, and the style of both."""
    shown = look(state)
    return f"{glyph(shown)} {state}", STYLES[shown.tone]
