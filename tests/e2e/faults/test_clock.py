"""The clock is set back an hour, and forward by a day and by months, under a system that runs (faketime).

Only the clock on the wall: the monotonic one goes on, as it does when a clock is set. The agents, static
programs, keep the right time; so ssh, whose certificates are good for minutes, waits until the clock is right again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import RunnerState
from netvps.domain.session.event import EventType
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Unavailable
from netvps.process.readiness import Outcome, await_outcome
from tests.e2e.faults.faulty_system import FaultySystem
from tests.e2e.faults.own_engine import Engine, shared_engine
from tests.e2e.kills.faulty import until
from tests.e2e.system import unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.event import SessionEvent

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
LIBRARY = "faketime/libfaketimeMT.so.1"
FULL = bool(os.environ.get("NETVPS_FULL"))
_CACHED = 1
"""Seconds between two looks of a process at the offset."""


class OddClock(FaultySystem[Engine]):
    """A system whose clock can be set while it runs; its commands have the right time."""

    def __init__(self) -> None:
        super().__init__(shared_engine())
        library = next(Path("/usr/lib").glob(f"*/{LIBRARY}"), None)
        if library is None:
            pytest.skip("needs faketime")
        self._offset = self.home / "offset"
        self.set("+0")
        self._faketime = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": str(_CACHED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # else Python compiles all modules at each start
        }

    def start(self) -> None:
        """Without `netvps up`, the command: a bug of the library has time.sleep fail now and then."""
        reading, writing = os.pipe()
        ports = [word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "netvps.programs.up", "--foreground", "--ready-fd", str(writing), *ports]
        self.state.mkdir()
        with (self.state / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--drain", "1"],
                env=self.full_environment() | self._faketime,
                pass_fds=(writing,),
                stderr=log,
                start_new_session=True,
            )
        os.close(writing)
        assert asyncio.run(await_outcome(reading)) == Outcome()

    def destroy(self) -> None:
        """And what waits in the library without end: a child that was forked while another thread held its lock."""
        super().destroy()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)

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
        made.start()
        made.register_key()
        yield made
    finally:
        made.set("+0")
        made.destroy()


def test_set_back_an_hour_all_goes_on_in_order(system: OddClock, busybox: str) -> None:
    name, other, spec = unique("s"), unique("o"), SessionSpec(image=busybox, stop_grace=2)
    with system.client() as client:
        first = client.create_session(name, spec)
        system.settled(name)
        system.write_file(name, "kept")
        client.stop_session(name)  # so that there is a snapshot from the future, soon
        system.settled(name)
        client.start_session(name)
        events: list[SessionEvent] = []
        threading.Thread(target=_follow, args=(system, events), daemon=True).start()
        until("the watch has caught up", lambda: any(event.type is EventType.CAUGHT_UP for event in events))
        system.settled(name)
        system.set("-1h")
        second = client.create_session(other, spec)
        assert second.uid > first.uid
        client.stop_session(name)
        until("it is stopped, and its snapshot taken", lambda: _is_stopped_for_good(system, name))
        # Whose certificates are of a moment ago, and not from the future, is let in.
        connected = system.logged("connected")
        system.kill("runner")
        # A start under faketime takes several times as long.
        until("the runner is connected again", lambda: system.logged("connected") > connected, 180)
        client.start_session(name)
        system.settled(name)
        system.settled(other)
        (runner,) = client.list_runners()
        assert runner.runner.state is RunnerState.ONLINE
        client.delete_session(other)
        assert system.settled(other) is None
    until("the watch tells the last change", lambda: _last(events, second.uid) is EventType.DELETED)
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)
    system.set("+0")
    system.require_file(name, "kept")


class TestAfterMonths:
    """NETVPS_FULL=1 only: under faketime a start takes five times as long. Its parts have tests of their own."""

    __test__ = FULL

    def test_a_runner_whose_certificate_expired_joins_again_as_the_same(self, system: OddClock, busybox: str) -> None:
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


def _is_stopped_for_good(system: OddClock, name: str) -> bool:
    session = system.session(name)
    return session is not None and (session.state, session.reason) == (SessionState.STOPPED, "")
