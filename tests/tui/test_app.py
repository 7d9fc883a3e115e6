"""The way between pages, the palette, the help; and how it looks without colour.

So it is the test of netvps_tui.go, netvps_tui.theme, netvps_tui.commands, netvps_tui.dialogs.help,
netvps_tui.pages.lists, netvps_tui.pages.events, netvps_tui.pages.network, netvps_tui.pages.people,
netvps_tui.pages.runners and netvps_tui.pages.session, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tui.conftest import Running, started

if TYPE_CHECKING:
    from tests.rpc.site import Site


async def test_digits_lead_to_pages_and_q_back(tui: Running) -> None:
    await tui.press("2")
    await tui.shows(
        "1 runner   1 online   4 sessions", "box1", "● ONLINE", "10.128.0.0/22", "$ netvps runner show box1"
    )
    await tui.press("3")
    await tui.shows("VNI 7", "1 of 1 runners", "one runner has no links")
    await tui.press("4")
    await tui.shows("the last 500 changes", "web", "✗ FAILED", "no such tag")
    await tui.press("enter")
    await tui.shows("web  ✗ FAILED", "Events")
    await tui.press("q", "5")
    await tui.shows("3 people", "root", "admin", "Keys of alice")
    await tui.press("q")
    await tui.shows("4 sessions")
    await tui.press("q")
    await tui.until(lambda: tui.app._exit)


async def test_the_palette_goes_to_anything(tui: Running) -> None:
    await tui.press("colon", *"webx", "backspace")
    await tui.shows("session, failed")
    await tui.press("enter")
    await tui.until(lambda: tui.current == "web" and not tui.app.screen.is_modal)
    await tui.press("colon", *"netwo")
    await tui.shows("page")
    await tui.press("enter")
    await tui.shows("VNI 7")


async def test_help_shows_the_keys_of_the_page(tui: Running) -> None:
    await tui.press("question_mark")
    await tui.shows("Keys", "forward ports", "copy the command line", "go to anything")
    await tui.press("escape")
    assert not tui.app.screen.is_modal


async def test_accessible_mode_has_words_and_ascii(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_ACCESSIBLE", "1")
    async with started(site) as tui:
        await tui.shows("> api", "* RUNNING", "o STOPPED", "x FAILED")


async def test_without_colour_nothing_is_coloured(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with started(site) as tui:
        await tui.shows("● RUNNING")
        assert tui.app.no_color
