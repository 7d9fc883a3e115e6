"""The way between pages, the palette, the help; and how it looks without colour.

So it is the test of netvps_tui.go, netvps_tui.theme, netvps_tui.commands, netvps_tui.dialogs.help,
netvps_tui.pages.lists, netvps_tui.pages.events, netvps_tui.pages.images, netvps_tui.pages.network,
netvps_tui.pages.people, netvps_tui.pages.runners, netvps_tui.pages.session and netvps_tui.work, too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from netvps_tui.app import NetvpsApp
from netvps_tui.pages.actions import SessionActions
from netvps_tui.pages.lists import ReadPage
from netvps_tui.pages.sessions import SessionsPage
from textual.binding import Binding

from tests.rpc.site import open_site
from tests.tui.conftest import Running, started
from tests.tui.pictures import Styles, each_screen, furnish, steady

if TYPE_CHECKING:
    from tests.rpc.site import Site

SCREENS_FOLDER = Path(__file__).parent / "screens"


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
    await tui.press("6")
    await tui.shows("no runner has an image yet", "not asked, as unreachable: box1", "$ netvps env ls")
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


async def test_without_colour_all_is_grey(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with started(site) as tui:
        await tui.shows("● RUNNING", "✗ FAILED")
        picture = tui.app.export_screenshot().partition("<style>")[2]
    colours = set(re.findall(r"#([0-9a-f]{6})", picture))
    frame = {"ff5f57", "febc2e", "28c840", "292929", "c5c8c6"}  # of Textual's picture itself
    assert {colour for colour in colours - frame if len({colour[:2], colour[2:4], colour[4:]}) > 1} == set()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_screen_looks_as_stored(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a change is meant: STORE_SCREENS=1 stores the screens, and `git diff` shows what changed."""
    monkeypatch.setenv("TZ", "UTC")
    texts, letters, styles = "", "", Styles()
    async with open_site() as site:
        await furnish(site)
        async with started(site, size=size) as tui:
            async for name in each_screen(tui, 13 if size == (80, 24) else 3):
                texts += f"==== {name}\n{steady(tui.text)}"
                letters += f"==== {name}\n{styles.of(tui.styles)}"
    compare(f"{size[0]}x{size[1]}.txt", texts)
    if size == (80, 24):
        compare("80x24-styles.txt", styles.legend() + letters)


async def test_without_colour_screens_look_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("NO_COLOR", "1")
    letters, styles = "", Styles()
    async with open_site() as site:
        await furnish(site)
        async with started(site, size=(80, 24)) as tui:
            async for name in each_screen(tui, 3):
                letters += f"==== {name}\n{styles.of(tui.styles)}"
    compare("80x24-styles-no-colour.txt", styles.legend() + letters)


def compare(name: str, found: str) -> None:
    """Compares a screen with the stored one, or stores it."""
    stored = SCREENS_FOLDER / name
    if os.environ.get("STORE_SCREENS"):
        stored.parent.mkdir(exist_ok=True)
        stored.write_text(found)
    assert found.splitlines() == stored.read_text().splitlines()


def test_every_key_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/tui.md").read_text(encoding="utf-8")
    spelled = {"slash": "/", "colon": ":", "question_mark": "?"}
    bindings = [one for owner in (NetvpsApp, SessionActions, SessionsPage, ReadPage) for one in owner.BINDINGS]
    keys = {key for one in bindings if isinstance(one, Binding) for key in one.key.split(",")}
    assert {key for key in keys if f"`{spelled.get(key, key)}`" not in page} == {"ctrl+c"}
