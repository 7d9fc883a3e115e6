"""What is drawn on terminals of 256 and of 16 colours."""

from __future__ import annotations

import pytest
from netvps_tui.few_colours import of_terminal
from netvps_tui.theme import ACCENT, THEME
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from netvps.display.palette import RGB, Tone
from tests.rpc.site import open_site
from tests.tui.conftest import fill, started

BLACK = Color.parse("black")
SIXTEEN = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "bright_black")
NAMES = {f"color({number})": name for number, name in enumerate(SIXTEEN)}


def drawn(system: str, style: Style) -> tuple[str, str]:
    """The colours of a text and of its background."""
    colours = of_terminal(system)
    assert colours is not None
    (segment,) = colours.apply([Segment("text", style)], BLACK)
    assert segment.style is not None
    found = [NAMES.get(one.name, one.name) if one else "" for one in (segment.style.color, segment.style.bgcolor)]
    return found[0], found[1]


def test_of_16_colours_each_tone_has_its_own_and_the_cursor_is_seen() -> None:
    page, row = THEME.background, THEME.panel
    of_tones = {tone: drawn("standard", Style(color=RGB[tone], bgcolor=page)) for tone in Tone}
    assert of_tones == {
        Tone.GOOD: ("green", "black"),
        Tone.BUSY: ("yellow", "black"),
        Tone.BAD: ("red", "black"),
        Tone.IDLE: ("white", "black"),
    }
    assert drawn("standard", Style(color=ACCENT, bgcolor=page)) == ("cyan", "black")
    assert drawn("standard", Style(color="#5c6575", bgcolor=page)) == ("bright_black", "black")
    assert drawn("standard", Style(color="#5c6575", bgcolor=row)) == ("white", "blue")
    assert drawn("standard", Style(color=ACCENT, bgcolor=page, reverse=True)) == ("cyan", "black")
    assert drawn("standard", Style(color="#101010", bgcolor=page)) == ("bright_black", "black")  # below a dialog
    assert drawn("standard", Style(color=THEME.foreground, bgcolor="#2f6f88")) == ("black", "cyan")


@pytest.mark.parametrize("colour", ["#0000ff", "#ffffff", "#000000", "#808080"])
def test_no_text_has_the_colour_of_its_background(colour: str) -> None:
    front, back = drawn("standard", Style(color=colour, bgcolor=colour))
    assert front != back


def test_of_256_colours_greys_stay_apart() -> None:
    shades = [THEME.background, THEME.panel, "#2b313b", "#5c6575", "#8a94a8", THEME.foreground]
    assert len({drawn("256", Style(color=shade))[0] for shade in shades}) == len(shades)
    assert drawn("256", Style(color="#ff0000", bgcolor="#080808")) == ("color(196)", "color(232)")


def test_what_is_the_terminals_own_stays() -> None:
    for system in ("256", "standard"):
        assert drawn(system, Style(color="red")) == ("red", "")
        assert drawn(system, Style()) == ("", "")
    assert of_terminal("truecolor") is None
    assert of_terminal(None) is None


async def test_the_app_draws_with_what_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    async with open_site() as site:
        await fill(site)
        async with started(site) as tui:
            await tui.shows("● RUNNING")
            drawn_as = {style.split(" ")[0] for line in tui.styles for _, style in line}
            colours = {NAMES.get(colour, colour) for colour in drawn_as}
            assert {"green", "red", "yellow", "cyan"} <= colours
            assert not [colour for colour in colours if colour.startswith("#")]
