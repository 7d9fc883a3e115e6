"""Terminals in pages, with the app of the gateway's tests and a session that says what it gets."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.session.exec import TerminalSize
from netvps.errors import WrongState
from netvps.gateway.web import logins, session_input, viewer
from tests.gateway.tui.test_session import lives
from tests.gateway.web.world import ANN, Person, Terminal, World
from tests.support.patience import PATIENCE


@pytest.fixture
async def terminal(ann: Person) -> Terminal:
    """With the app."""
    opened = await ann.terminal()
    await opened.until(f"UI term=xterm-256color page= row= token={ANN} api=unix:/none/api.sock".encode())
    return opened


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def viewers(world: World) -> list[viewer.WebViewer]:
    return [*world.server._viewers]


async def test_the_app_has_a_terminal_a_clean_environment_and_no_privileges(terminal: Terminal) -> None:
    await terminal.press(b"z")
    await terminal.until(b"size=100x30")
    await terminal.say({"columns": 120, "rows": 40})
    await terminal.press(b"z")
    await terminal.until(b"size=120x40")
    await terminal.press(b"e")
    await terminal.until(b"environ=['COLORTERM', 'HOME', 'LANG', 'TERM'] colour=truecolor")
    await terminal.press(b"i")
    await terminal.until(b"leader=True")
    await terminal.press(b"q")
    assert await terminal.end() == (viewer.LEFT, "you left the terminal UI")


async def test_a_session_gets_the_page_and_the_app_comes_back_to_its_row(terminal: Terminal, world: World) -> None:
    await terminal.press(b"s")
    await terminal.until(b"netvps: connecting to dev1.alice")
    await terminal.until(b"welcome")
    (start,) = world.accounts.started
    assert (start.name, start.terminal, start.term, start.user) == (
        "dev1.alice",
        TerminalSize(100, 30),
        "xterm-256color",
        "root",
    )
    await terminal.press(b"hello")
    await terminal.until(b"got hello")
    await terminal.say({"columns": 90, "rows": 25})
    await terminal.until(b"size=90x25")
    await terminal.press(b"exit")
    await terminal.until(b"page=sessions row=row7")
    await terminal.press(b"z")
    await terminal.until(b"size=90x25")
    while terminal.taken < len("s" + "hello" + "exit" + "z"):
        assert await terminal.read(), "all of the input is taken, also what ended the session"


async def test_a_session_that_cannot_be_entered_says_why_without_steering_the_page(
    terminal: Terminal, world: World
) -> None:
    world.accounts.exec_error = WrongState("it is STOPPED: start it with netvps start dev1\x1b]52;c;eA==\x07")
    await terminal.press(b"s")
    await terminal.until(b"session dev1.alice: it is STOPPED: start it with netvps start dev1")
    await terminal.until(b"any key leads back")
    assert b"\x1b]52" not in terminal.seen
    await terminal.press(b" ")
    await terminal.until(b"page=sessions row=row7")


async def test_a_page_begins_with_its_size(ann: Person, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "_FIRST_SECONDS", 0.1)
    wrong: list[Any] = [None, {}, {"columns": 80}, {"columns": "80", "rows": 24}, {"columns": 80, "rows": 24, "x": 1}]
    for first in (*wrong, {"ack": 1}, [], 7, "x"):
        terminal = await ann.terminal(first)
        assert (await terminal.end())[0] == viewer.MISUSED, first
    await soon(lambda: not viewers(world))


async def test_a_message_that_is_not_of_the_protocol_ends_the_page(ann: Person) -> None:
    acks = [f'{{"ack": {count}}}' for count in ("0", "-1", "10000000", "1.5", '"1"')]
    for message in ("", "{", "[" * 60_000, "null", *acks):
        terminal = await ann.terminal()
        await terminal.socket.send_str(message)
        assert (await terminal.end())[0] == viewer.MISUSED, message


async def test_a_message_that_is_too_large_ends_the_page(terminal: Terminal) -> None:
    await terminal.press(b"x" * (viewer.MESSAGE_LIMIT + 1))
    assert (await terminal.end())[0] == 1009


async def test_impossible_sizes_are_cut(terminal: Terminal) -> None:
    for size, cut in (((10**9, 10**9), b"size=1000x1000"), ((-5, 0), b"size=1x1")):
        await terminal.say(dict(zip(("columns", "rows"), size, strict=True)))
        await terminal.press(b"z")
        await terminal.until(cut)


async def test_more_input_than_a_page_may_have_under_way_ends_it(terminal: Terminal) -> None:
    await terminal.press(b"s")
    await terminal.until(b"welcome")
    await terminal.press(b"stuck")
    while terminal.taken < len("s" + "stuck"):
        await terminal.read()
    for _ in range(session_input.CREDIT // 32768 + 1):
        await terminal.press(b"x" * 32768)
    assert await terminal.end() == (viewer.MISUSED, "the page sent more input than it may")


async def test_acknowledgements_pass_input_that_a_session_does_not_take(terminal: Terminal) -> None:
    await terminal.press(b"s")
    await terminal.until(b"welcome")
    await terminal.press(b"stuck")
    await terminal.press(b"x" * 60_000)
    await terminal.say({"columns": 90, "rows": 25})
    await terminal.say({"ack": 1})
    assert (await terminal.end())[0] == viewer.MISUSED, "it was read: nothing is unseen"


@pytest.mark.parametrize("source", ["app", "session"])
async def test_a_page_that_draws_nothing_stops_what_writes_and_memory_does_not_grow(
    terminal: Terminal, world: World, source: str
) -> None:
    terminal.acknowledges = False
    if source == "session":
        await terminal.press(b"s")
        await terminal.until(b"welcome")
    await terminal.press(b"flood" if source == "session" else b"f")
    (page,) = viewers(world)
    await soon(lambda: not page._room.is_set())
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while await terminal.read():
                pass
    assert viewer.HIGH // 2 < len(terminal.seen) <= viewer.HIGH + 65536
    terminal.seen = b""
    assert page._unseen + len(page._output) <= viewer.HIGH + 2 * 65536
    assert world.accounts.flooded <= viewer.HIGH + 4 * 65536
    await terminal.say({"ack": page._unseen})
    await terminal.until(b"y" * 1000 if source == "session" else b"x" * 1000)


async def test_a_page_that_takes_nothing_from_its_socket_ends(
    terminal: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "_SEND_SECONDS", 0.5)
    monkeypatch.setattr(viewer, "HIGH", 1 << 30)
    (page,) = viewers(world)
    transport = terminal.socket.get_extra_info("socket")
    assert transport is not None
    terminal.socket._conn.transport.pause_reading()  # type: ignore[union-attr]
    await terminal.press(b"f")
    await soon(lambda: not viewers(world))
    assert page._ending.result() == (viewer.FAILED, "the page takes nothing")


async def test_a_closed_page_ends_its_app(terminal: Terminal, world: World) -> None:
    await terminal.press(b"i")
    await terminal.until(b"leader=True")
    process = world.apps._process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    await terminal.socket.close()
    assert not await asyncio.to_thread(lives, int(children[0]))
    await soon(lambda: not viewers(world))


async def test_a_bug_of_the_app_ends_in_words_and_the_next_page_is_served(terminal: Terminal, ann: Person) -> None:
    await terminal.press(b"b")
    await terminal.until(b"netvps: the terminal UI failed; the server's log says why")
    assert (await terminal.end())[0] == viewer.LEFT
    again = await ann.terminal()
    await again.until(b"UI term=")


async def test_viewers_are_limited_by_user_and_in_all(
    ann: Person, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        people = [ann, await stack.enter_async_context(world.person())]
        await people[1].log_in()
        opened = [await people[n % 2].terminal(first=None) for n in range(logins.VIEWERS_PER_USER)]
        await soon(lambda: len(viewers(world)) == logins.VIEWERS_PER_USER)
        more = await ann.terminal()
        assert await more.end() == (viewer.NOT_ADMITTED, "you have 8 terminal UIs open already: close some")
        await opened[0].socket.close()
        await soon(lambda: len(viewers(world)) < logins.VIEWERS_PER_USER)
        monkeypatch.setattr(logins, "VIEWERS", logins.VIEWERS_PER_USER - 1)
        more = await ann.terminal()
        assert (await more.end())[0] == viewer.NOT_ADMITTED


async def test_a_hundred_viewers_are_served_and_one_more_is_not(world: World) -> None:
    for n in range(13):
        world.accounts.keys[f"nv_{n:012x}_{'0' * 64}"] = f"user{n}"
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(world.person()) for _ in range(13)]
        for key, person in zip([*world.accounts.keys][2:], people, strict=True):
            await person.log_in(key)
        opened = [await people[n % 13].terminal(first=None) for n in range(logins.VIEWERS)]
        assert len(opened) == logins.VIEWERS
        await soon(lambda: len(viewers(world)) == logins.VIEWERS)
        more = await people[12].terminal()
        assert await more.end() == (
            viewer.NOT_ADMITTED,
            "100 terminal UIs are open already: try again later, or use the netvps command",
        )


async def test_a_page_without_input_for_hours_ends(ann: Person, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "IDLE_SECONDS", 0.6)
    terminal = await ann.terminal()
    await terminal.until(b"UI term=")
    world.clock.now += 1
    assert await terminal.end() == (viewer.IDLE, "there was no input for hours")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["columns", "rows", "ack", "x"]), inner)
    ),
    max_leaves=6,
)


@given(text=st.text(max_size=40) | _VALUES.map(json.dumps), unseen=st.integers(0, 100))
async def test_any_text_is_a_size_an_acknowledgement_or_refused(text: str, unseen: int) -> None:
    page = viewer.WebViewer(None, None, None)  # type: ignore[arg-type]  # what a text decides needs none of them
    page._unseen = unseen
    taken = page._control(text)
    assert 1 <= page._size.columns <= 1000
    assert 1 <= page._size.rows <= 1000
    assert 0 <= page._unseen <= unseen
    if taken:
        assert set(json.loads(text)) in ({"ack"}, {"columns", "rows"})
    else:
        assert (page._unseen, page._size) == (unseen, TerminalSize(80, 24))


def test_reasons_fit_into_a_closing_frame() -> None:
    assert viewer._shortened("ü" * 100).encode()[-3:] == "…".encode()
    assert len(viewer._shortened("ü" * 100).encode()) <= 123
    assert viewer._shortened("short") == "short"


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the account")
async def test_the_app_is_of_no_account(terminal: Terminal) -> None:
    await terminal.press(b"i")
    await terminal.until(b"uid=")
    assert not terminal.seen.startswith(b"0 ")
