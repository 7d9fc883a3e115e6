"""A log of any speed: bounded, harmless, and only its lines on the screen are made into text."""

from __future__ import annotations

from typing import Any

import pytest
from netvps_tui.widgets import log_view
from netvps_tui.widgets.log_view import CHARACTERS, LINES, LONGEST, LogView
from textual.app import App


class Shown(App[None]):
    CSS = "LogView { height: 1fr; scrollbar-size-horizontal: 0; }"

    def compose(self) -> Any:
        yield LogView()


def text(view: LogView) -> list[str]:
    return ["".join(segment.text for segment in view.render_line(y)).rstrip() for y in range(view.size.height)]


async def test_lines_and_characters_are_bounded_and_the_newest_stay() -> None:
    app = Shown()
    async with app.run_test(size=(40, 5)) as pilot:
        view = app.query_one(LogView)
        for start in range(0, 3 * LINES, 1000):
            view.add(f"line {number}" for number in range(start, start + 1000))
            await pilot.pause()
        assert (len(view.lines), view.lines[0]) == (LINES, f"line {2 * LINES}")
        assert text(view)[-1] == f"line {3 * LINES - 1}"
        view.add(["x" * 3 * LONGEST] * LINES)
        assert sum(map(len, view.lines)) <= CHARACTERS
        assert view.virtual_size.width == LONGEST


async def test_scrolled_up_the_same_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_view, "LINES", 50)
    app = Shown()
    async with app.run_test(size=(40, 5)) as pilot:
        view = app.query_one(LogView)
        view.add(f"line {number}" for number in range(50))
        await pilot.pause()
        view.scroll_to(y=20, animate=False, immediate=True)
        await pilot.pause()
        before = text(view)
        view.add(f"line {number}" for number in range(50, 60))
        await pilot.pause()
        assert text(view) == before == [f"line {number}" for number in range(20, 25)]


async def test_a_search_finds_coloured_text() -> None:
    app = Shown()
    async with app.run_test(size=(40, 3)) as pilot:
        view = app.query_one(LogView)
        view.add(["a", "\x1b[31mer\x1b[0mror", *"bcdefg"])
        await pilot.pause()
        assert text(view)[-1] == "g"
        assert view.look_for("ERROR")
        assert not view.look_for("nothing")
        await pilot.pause()
        assert text(view)[0] == "error"
