"""A terminal that is too small says how large it has to be; a larger one has its page back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tui.conftest import started

if TYPE_CHECKING:
    from tests.rpc.site import Site
    from tests.tui.conftest import Running


async def test_a_page_gives_way_and_comes_back(tui: Running) -> None:
    await tui.pilot.resize_terminal(30, 8)
    await tui.shows("This terminal is 30 x 8", "make it 40 x 12")
    assert "RUNNING" not in tui.text
    await tui.pilot.resize_terminal(40, 12)
    await tui.shows("● RUNNING")
    await tui.pilot.resize_terminal(1, 1)
    await tui.pilot.resize_terminal(120, 30)
    await tui.shows("● RUNNING")


async def test_the_smallest_terminal_has_a_page_and_its_dialogs(site: Site) -> None:
    async with started(site, size=(40, 12), wait="RUNNING") as tui:
        await tui.press("n")
        await tui.shows("New session", "Memory")
        await tui.press("escape", "question_mark")
        await tui.shows("Keys")
        await tui.press("escape", "enter")
        await tui.shows("api  ● RUNNING")
