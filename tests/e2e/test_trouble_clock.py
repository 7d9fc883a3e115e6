"""The clock is set back an hour, and forward by a day and by months, under a system that runs (faketime).

Only the clock on the wall: the monotonic one goes on, as it does when somebody sets a clock. The agents, static
programs, keep the right time; so ssh, whose certificates are good for minutes, waits until the clock is right again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.domain.event import EventType
from netvps.domain.runner import RunnerState
from netvps.domain.session import SessionSpec, SessionState
from netvps.errors import Unavailable
from tests.e2e.own_engine import Engine, shared_engine
from tests.e2e.system import unique
from tests.e2e.trouble import Troubled, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.event import SessionEvent

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
LIBRARY = "faketime/libfaketimeMT.so.1"
_CACHED = 1
"""Seconds between two looks of a process at the offset."""


class OddClock(Troubled[Engine]):
    """A system whose clock can be set while it runs."""

    def __init__(self) -> None:
        super().__init__(shared_engine())
        (library,) = Path("/usr/lib").glob(f"*/{LIBRARY}")
        self._offset = self.home / "offset"
        self.set("+0")
        self.environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": str(_CACHED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """As in faketime(1): "-1h", "+1d"."""
        part = self._offset.with_suffix(".part")
        part.write_text(f"{offset}\n")
        part.replace(self._offset)
        time.sleep(_CACHED + 0.5)  # by then each process has looked; none of them tells


@pytest.fixture(scope="module")
def system() -> Iterator[OddClock]:
    made = OddClock()
    try:
        made.up()
        made.register_key()
        yield made
    finally:
        made.set("+0")
        made.destroy()


def test_back_an_hour_and_forward_a_day_all_goes_on_in_order(system: OddClock, busybox: str) -> None:
    name, spec = unique("s"), SessionSpec(image=busybox, stop_grace=2)
    with system.client() as client:
        client.create_session(name, spec)
        system.settled(name)
        system.write_file(name, "kept")
        events: list[SessionEvent] = []
        threading.Thread(target=_follow, args=(system, events), daemon=True).start()
        until("the watch has caught up", lambda: any(event.type is EventType.CAUGHT_UP for event in events))
        made = []
        for offset in ("-1h", "+1d", "-1h"):
            system.set(offset)
            other = unique("o")
            made.append(client.create_session(other, spec).uid)
            # Each cycle takes the snapshot of the one before as its source, by number and not by time.
            client.stop_session(name)
            stopped = system.settled(name)
            assert stopped is not None
            assert (stopped.state, stopped.reason) == (SessionState.STOPPED, "")
            client.start_session(name)
            system.settled(name)
            assert system.engine.docker("exec", f"netvps-vps-{stopped.uid}", "/bin/cat", "/root/proof") == "kept\n"
            (runner,) = client.list_runners()
            assert runner.runner.state is RunnerState.ONLINE
            client.delete_session(other)
            assert system.settled(other) is None
        assert made == sorted(made)
    until("the watch tells the last change", lambda: _last(events, made[-1]) is EventType.DELETED)
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)
    system.set("+0")
    system.require_file(name, "kept")


def test_who_connects_anew_after_the_clock_was_set_back_is_let_in(system: OddClock, busybox: str) -> None:
    """Certificates of a moment ago are not from the future: server, runner, agent, and the session's host key."""
    name = unique("s")
    with system.client() as client:
        client.create_session(name, SessionSpec(image=busybox, stop_grace=2))
        system.settled(name)
    system.set("-1h")
    connected = system.logged("connected")
    system.kill("runner")
    until("the runner is connected again", lambda: system.logged("connected") > connected)
    system.set("+0")
    system.write_file(name, "made")
    with system.client() as client:
        client.delete_session(name)
    assert system.settled(name) is None


def test_a_runner_whose_certificate_ended_joins_anew_as_the_same(system: OddClock, busybox: str) -> None:
    """`netvps up` can make the token itself; elsewhere it says how to."""
    name = unique("s")
    with system.client() as client:
        client.create_session(name, SessionSpec(image=busybox, stop_grace=2))
        system.settled(name)
        before = [runner.runner.uid for runner in client.list_runners()]
        system.set("+100d")
        joined = system.logged("joined")
        system.kill("runner")
        until("it joins", lambda: system.logged("joined") == joined + 1)
        client.stop_session(name)
        stopped = system.settled(name)
        assert stopped is not None
        assert stopped.state is SessionState.STOPPED
        assert [runner.runner.uid for runner in client.list_runners()] == before
        client.delete_session(name)
    assert system.settled(name) is None
    assert system.wrong() == []


def _follow(system: OddClock, events: list[SessionEvent]) -> None:
    with system.client() as client, contextlib.suppress(Unavailable):  # in the end, the server goes
        for event in client.watch_sessions():
            events.append(event)  # noqa: PERF402 — one by one, as they come


def _last(events: list[SessionEvent], uid: str) -> EventType | None:
    own = [event.type for event in events if event.session is not None and event.session.uid == uid]
    return own[-1] if own else None
