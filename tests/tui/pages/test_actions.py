"""Each key of a session and what it asks the server for; with the command line that does the same.

So it is the test of netvps_tui.pages.page, netvps_tui.pages.logs, netvps_tui.dialogs.form and
netvps_tui.dialogs.session, netvps_tui.dialogs.present, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import DesiredState, SessionState
from tests.rpc.site import ROOT
from tests.tui.conftest import report

if TYPE_CHECKING:
    from netvps.domain.session.session import Session
    from tests.tui.conftest import Running


async def stored(tui: Running, name: str) -> Session:
    return await tui.site.services.sessions.get(ROOT, name)


def desired(tui: Running, name: str) -> DesiredState:
    return next(session.desired for session in tui.app.live.sessions.values() if session.name == name)


async def remove(tui: Running, name: str) -> None:
    """Another person deletes a session."""
    await report(tui.site, await tui.site.services.sessions.delete(ROOT, name), SessionState.DELETED)
    await tui.until(lambda: all(one.name != name for one in tui.app.live.sessions.values()))


async def test_stop_asks_and_start_does_not(tui: Running) -> None:
    await tui.press("x")
    await tui.shows("Stop api?", "$ netvps stop api", "enter stop")
    await tui.press("escape", "x", "enter")
    await tui.until(lambda: desired(tui, tui.current) is DesiredState.STOPPED)
    await tui.press("down", "r")
    await tui.shows("$ netvps start db")
    await tui.until(lambda: desired(tui, tui.current) is DesiredState.RUNNING)


async def test_pause_and_resume_by_one_key(tui: Running) -> None:
    await tui.press("z")
    await tui.shows("$ netvps pause api")
    await tui.until(lambda: desired(tui, tui.current) is DesiredState.PAUSED)
    await tui.report("api", SessionState.PAUSED)
    await tui.shows("PAUSED")
    await tui.press("z")
    await tui.shows("$ netvps resume api")
    await tui.until(lambda: desired(tui, tui.current) is DesiredState.RUNNING)


async def test_delete_wants_the_name_typed(tui: Running) -> None:
    await tui.press("d")
    await tui.shows("Delete api?", "without a way back", "$ netvps rm api")
    await tui.type("apx")
    await tui.press("enter")
    await tui.shows("that is not api; nothing was deleted")
    await tui.press("backspace")
    await tui.type("i")
    await tui.press("enter")
    await tui.until(lambda: not tui.app.screen.is_modal)
    await tui.until(lambda: desired(tui, "api") is DesiredState.DELETED)


async def test_several_are_selected_with_space_and_deleted_by_their_number(tui: Running) -> None:
    await tui.press("space", "space")
    await tui.shows("2 selected", "✓ api", "✓ db")
    await tui.press("d")
    await tui.shows("Delete 2 sessions?", "api, db", "$ netvps rm api db")
    await tui.press("2", "enter")
    await tui.until(lambda: sum(one.desired is DesiredState.DELETED for one in tui.app.live.sessions.values()) == 2)
    await tui.press("escape")
    assert not tui.sessions.table.marked


@pytest.mark.parametrize(
    ("keys", "title"),
    [
        (["R"], "Rename api"),
        (["x"], "Stop api?"),
        (["c"], "Clone api"),
        (["d"], "Delete api?"),
        (["e"], "Limits of api"),
        (["f"], "Forward ports of api"),
        (["p", "n"], "Snapshot of api"),
        (["space", "space", "x"], "Stop 2 sessions?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_session_that_goes_while_its_dialog_is_open_is_reported_and_nothing_is_sent(
    tui: Running, keys: list[str], title: str
) -> None:
    await tui.press(*keys)
    await tui.shows(title)
    await remove(tui, "api")
    await tui.shows("api was removed meanwhile; Esc closes this")
    dialog = tui.app.screen
    await tui.press("enter")
    await tui.until(lambda: not [one for one in tui.app.workers if one.group == "send"])
    assert tui.app.screen is dialog
    assert not tui.connect.asked
    assert desired(tui, "db") is DesiredState.RUNNING
    await tui.press("escape")
    assert not tui.app.screen.is_modal


async def test_the_snapshots_of_a_session_that_goes_say_so(tui: Running) -> None:
    await tui.press("p")
    await tui.shows("no snapshots yet")
    await remove(tui, "api")
    await tui.shows("api  was removed, with its snapshots")


async def test_a_dialog_acts_on_a_session_that_was_renamed_meanwhile(tui: Running) -> None:
    await tui.press("x")
    await tui.shows("Stop api?")
    await tui.site.services.sessions.rename(ROOT, "api", "api2")
    await tui.until(lambda: any(one.name == "api2" for one in tui.app.live.sessions.values()))
    await tui.press("enter")
    await tui.until(lambda: desired(tui, "api2") is DesiredState.STOPPED)


async def test_new_is_checked_while_one_types_and_says_where_it_would_run(tui: Running) -> None:
    await tui.press("n")
    await tui.shows("New session", "on runner box1", "$ netvps create")
    await tui.type("api")
    await tui.shows("session api exists already")
    await tui.type("2")
    await tui.press("down", "down")
    await tui.type("1.5")
    await tui.press("down")
    await tui.type("2X")
    await tui.shows("not a size", "$ netvps create api2 --cpus 1.5 --memory 2X")
    await tui.press("backspace")
    await tui.type("G")
    await tui.press("enter")
    await tui.until(lambda: tui.current == "api2")
    made = await stored(tui, "api2")
    assert (made.spec.cpus, made.spec.memory_bytes) == (1.5, 2 << 30)


async def test_limits_change_while_it_runs(tui: Running) -> None:
    await tui.press("e")
    await tui.shows("Limits of api", "$ netvps resize api --cpus 0 --memory 0 --pids 4096")
    await tui.type("2")
    await tui.press("enter")
    await tui.until(lambda: not tui.app.screen.is_modal)
    assert (await stored(tui, "api")).spec.cpus == 2


async def test_forward_and_logs(tui: Running) -> None:
    await tui.press("f")
    await tui.shows("Forward ports of api", "$ netvps forward api 8080")
    await tui.type(" 70000")
    await tui.shows("'70000' is not PORT or LOCAL:REMOTE")
    await tui.press(*["backspace"] * 5)
    await tui.type("5432")
    await tui.press("enter")
    await tui.until(lambda: tui.connect.asked)
    assert tui.connect.asked == [("forward", "api.root", "8080", "5432")]
    await tui.press("l")
    await tui.shows("api  log", "the runner is not connected")


async def test_what_the_server_refuses_is_shown(tui: Running) -> None:
    await tui.site.services.sessions.delete(ROOT, "db")
    await tui.press("down", "r")
    await tui.shows("is being deleted")


async def test_the_command_line_is_copied(tui: Running) -> None:
    await tui.press("y")
    assert tui.app.clipboard == "netvps ssh api"
    await tui.press("x", "ctrl+y")
    assert tui.app.clipboard == "netvps stop api"
