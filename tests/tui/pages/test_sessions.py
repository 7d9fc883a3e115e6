"""The list of sessions: live, by keys and by mouse. So it is the test of netvps_tui.pages.page, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from netvps_tui.connect import Place
from netvps_tui.pages.session import SessionPage
from netvps_tui.pages.sessions import SessionsPage
from textual.strip import Strip
from textual.widgets import Static

from netvps.display.units import minute_words
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import SleepPolicy
from tests.rpc.site import ROOT
from tests.tui.conftest import Running, report, started

if TYPE_CHECKING:
    from textual.geometry import Region

    from tests.rpc.site import Site


async def test_what_changes_is_shown_and_the_cursor_stays_on_its_row(tui: Running) -> None:
    await tui.shows("4 sessions", "● RUNNING", "○ STOPPED", "◔ PREPARING", "✗ FAILED", "no such tag", "root@lab")
    await tui.press("down", "down")
    assert tui.current == "queue"
    for name in ("aaa", "bbb"):  # come before it
        await tui.site.services.sessions.create(ROOT, session_id=name, owner="", spec=SessionSpec(image="debian:12"))
    await tui.shows("6 sessions", "aaa", "bbb")
    assert tui.current == "queue"
    await tui.report("queue", SessionState.RUNNING)
    await tui.shows("2 running")
    assert tui.current == "queue"
    deleted = await tui.site.services.sessions.delete(ROOT, "queue")
    await report(tui.site, deleted, SessionState.DELETED)
    await tui.shows("5 sessions")
    assert tui.current == "web"  # the one that took its place


async def test_keys_move_the_cursor_filter_and_sort(tui: Running) -> None:
    await tui.press("G")
    assert tui.current == "web"
    await tui.press("g")
    assert tui.current == "api"
    await tui.press("j", "j", "k", "pagedown", "pageup", "o")
    await tui.shows("by state")
    await tui.press("slash", *"stop")
    await tui.shows("1 match", "db")
    assert tui.sessions.table.keys == [tui.sessions.target().uid]  # type: ignore[union-attr]
    await tui.press("enter", "escape")
    await tui.until(lambda: len(tui.sessions.table.keys) == 4)
    await tui.press("slash", *"nothing like it")
    await tui.shows("no session matches", "esc clears the filter")
    await tui.press("escape")
    await tui.until(lambda: len(tui.sessions.table.keys) == 4)


async def test_a_mouse_moves_the_cursor_and_opens(tui: Running) -> None:
    await tui.shows("queue", "web")
    await tui.pilot.click("#table", offset=(5, 3))
    await tui.until(lambda: tui.current == "queue")
    await tui.pilot.click("#table", offset=(5, 2), times=2)
    await tui.shows("db  ○ STOPPED", "processes")


async def test_the_same_row_is_back_where_the_app_begins_again(site: Site) -> None:
    queue = await site.services.sessions.get(ROOT, "queue")
    async with started(site, place=Place("sessions", queue.uid)) as tui:
        await tui.until(lambda: tui.current == "queue")
        await tui.press("s")
        assert tui.connect.asked == [("ssh", "queue.root")]
        assert tui.connect.place == Place("sessions", queue.uid)


async def test_a_server_that_goes_away_is_shown_with_the_age_of_the_data(site: Site) -> None:
    async with started(site) as tui:
        await site.server.__aexit__(None, None, None)
        await tui.shows("! what you see is", "old:", "api")
        assert tui.app.screen.query_one("#banner").display


async def test_without_sessions_it_says_what_to_do(site: Site) -> None:
    for name in ("api", "db", "queue", "web"):
        await report(site, await site.services.sessions.delete(ROOT, name), SessionState.DELETED)
    async with started(site, size=(80, 24)) as tui:
        await tui.shows("no sessions yet", "n creates one", "$ netvps create")


async def test_names_and_messages_steer_no_terminal(tui: Running) -> None:
    await tui.report("web", SessionState.FAILED, "\x1b[2J\x1b]0;gone\x07 bad")
    await tui.shows("\ufffd[2J")
    assert "\x1b" not in tui.text


async def test_read_only_has_no_keys_that_change(site: Site) -> None:
    async with started(site, read_only=True) as tui:
        await tui.shows("read-only")
        await tui.press("x", "d", "n", "r", "e", "R", "z")
        assert not tui.app.screen.is_modal
        await tui.press("slash", *"db", "enter", "enter")
        await tui.shows("db  ○ STOPPED")


async def test_what_reads_as_before_is_not_sent_to_the_terminal_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(site) as tui:
        await tui.until(lambda: tui.current == "api")
        await tui.pilot.pause()
        page = tui.app.screen
        assert isinstance(page, SessionsPage)
        drawn: list[tuple[Region, ...]] = []
        with monkeypatch.context() as recorded:
            recorded.setattr(page.table, "refresh", lambda *regions: drawn.append(regions))
            page._ages()  # a second may have begun since the page was drawn
            drawn.clear()
            page._ages()
            assert drawn == []
            page.table._drawn[2] = Strip.blank(9)
            page._ages()
            assert [region.y for (region,) in drawn] == [2]
        await tui.press("enter")
        await tui.shows("api  ● RUNNING", "processes")
        await tui.pilot.pause()
        detail = tui.app.screen
        assert isinstance(detail, SessionPage)
        updated: list[str] = []
        monkeypatch.setattr(Static, "update", lambda shown, *_: updated.append(str(shown.id)))
        detail._show()
        assert updated == []
        monkeypatch.setattr(detail, "_history", [])
        detail._show()
        assert updated == ["events"]


async def test_a_session_shows_when_it_is_stopped_by_itself(site: Site) -> None:
    spec = SessionSpec(sleep=SleepPolicy(lifetime=3600.0))
    session = await site.services.sessions.update(ROOT, "api", spec, ["sleep"])
    assert session.run_time is not None
    async with started(site) as tui:
        await tui.until(lambda: tui.current == "api")
        await tui.press("enter")
        await tui.shows(f"api  ● RUNNING  stops at {minute_words(session.run_time + timedelta(hours=1))}")


@pytest.mark.parametrize("key", ["", "r", "2", "3", "p", "enter"])
async def test_a_credential_that_ends_is_shown_with_what_to_do_and_nothing_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("netvps.rpc.server.interceptors.REVIEW_SECONDS", 0.05 if not key else 600)
    credential, secret = await site.services.access.create_api_key(ROOT, "root", "")
    endpoint = replace(await site.remote(), api_key=secret)
    async with started(site, endpoint=endpoint) as tui:
        await site.services.access.delete_api_key(ROOT, "root", credential.kid)
        await tui.press(*filter(None, [key]))
        await tui.shows("what you see is", "expired or revoked", "netvps login HOST; q ")
        await tui.until(lambda: not [one for one in tui.app.workers if one.is_running and one.group == "watch"])
        await tui.press("q", "q")
        await tui.until(lambda: tui.app._exit)


async def test_a_credential_that_is_not_valid_at_the_start_is_shown_at_once(site: Site) -> None:
    endpoint = replace(await site.remote(), api_key="nv_0123456789ab_none")
    async with started(site, endpoint=endpoint, wait="does not let you in") as tui:
        await tui.shows("expired or revoked", "q leaves")
        await tui.until(lambda: not [one for one in tui.app.workers if one.is_running])
