"""`tui`: the terminal UI with 10,000 sessions, of which 200 a second change.

A terminal of 120 x 40 is read byte by byte. "First rows" is the time until the list's first row is on it: from the fork
of the gateway's warm process, from the start of `ssh`, and from the start of `netvps tui`. "Key to paint" is the time
from a byte of input until the cursor is on the row that it leads to. The server, the changes, the UI and the terminal
share this machine's CPUs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from bench.changes import changing
from bench.place import NETVPS, Place, ssh_options
from bench.result import Goal, Measure, Row
from bench.screen import Screen
from netvps.adapters.process_usage import proportional_bytes
from netvps.adapters.store import open_store
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.spec import SessionSpec
from netvps.gateway.tui.apps import TerminalApps, Viewer
from netvps.process import clock
from netvps.process.account import user_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SESSIONS: Final = 10_000
_RATE: Final = 200.0  # changes per second
_AT_ONCE: Final = 500  # sessions put in one transaction
_AGE: Final = timedelta(days=40)  # an age that reads the same for a day, so that it causes no output
_KEYS: Final = 40  # per round
_QUIET: Final = 5.0  # seconds without a change
_LIMIT: Final = 60.0
_MEGABYTE: Final = 1 << 20
_WHOLE: Final = f"{_SESSIONS:,} sessions"


def measure(rounds: int) -> list[Row]:
    """Measures start, keys, idle output and memory."""
    with Place() as place:
        place.state.mkdir(mode=0o700)
        asyncio.run(_fill(place))
        place.serve()
        place.netvps("key", "add", str(place.key.with_suffix(".pub")))
        token = place.netvps("user", "api-key", user_name()).strip()
        return asyncio.run(_measure(place, token, rounds))


async def _measure(place: Place, token: str, rounds: int) -> list[Row]:
    async with TerminalApps(place.socket) as apps:
        forked: list[float] = []
        whole: list[float] = []
        memory: list[float] = []
        for _ in range(rounds + 1):  # the first round fills caches, and waits for the warm process
            async with _forked(apps, token) as (screen, pid):
                forked.append(await screen.until(_name(0), _LIMIT))
                whole.append(await screen.until(_WHOLE, _LIMIT))
                memory.append(proportional_bytes(pid) / _MEGABYTE)
        async with _forked(apps, token) as (screen, pid):
            await screen.until(_WHOLE, _LIMIT)
            calm = await _press(screen, rounds)
            with changing(place, _SESSIONS, _RATE):
                busy = await _press(screen, rounds)
            memory.append(proportional_bytes(pid) / _MEGABYTE)
    over_ssh, silent = await _over_ssh(place, rounds)
    program = [await _first_rows(place, NETVPS, "tui") for _ in range(rounds)]
    changes = f"{_RATE:g} changes/s"
    return [
        Row("first rows, from the warm process", "ms", {"netvps": forked[1:]}, Goal(Measure.MEDIAN, 300)),
        Row(f"all {_SESSIONS:,} sessions, from the warm process", "ms", {"netvps": whole[1:]}),
        Row("first rows, from the start of ssh", "ms", {"netvps": over_ssh}, Goal(Measure.MEDIAN, 400)),
        Row("first rows, from the start of netvps tui", "ms", {"netvps": program}),
        Row(f"key to paint, {changes}", "ms", {"netvps": busy}, Goal(Measure.P99, 100)),
        Row("key to paint, without changes", "ms", {"netvps": calm}),
        Row(f"output over ssh in {_QUIET:g} s without a change", "bytes", {"netvps": silent}, Goal(Measure.MEDIAN, 0)),
        Row("memory of a viewer (PSS)", "MB", {"netvps": memory[1:]}, Goal(Measure.MEDIAN, 70)),
    ]


@contextlib.asynccontextmanager
async def _forked(apps: TerminalApps, token: str) -> AsyncIterator[tuple[Screen, int]]:
    """Runs an app of the warm process on a screen; the clock starts with the fork."""
    with Screen() as screen:
        screen.start_clock()
        app = await apps.start(Viewer(token, "xterm-256color", {"COLORTERM": "truecolor"}), screen.app_end)
        screen.close_app_end()
        try:
            yield screen, app.pid
        finally:
            app.kill()
            await app.outcome()


async def _press(screen: Screen, rounds: int) -> list[float]:
    """Moves the cursor down, and back to the first row in between; returns the time of each move in milliseconds."""
    taken = []
    for _ in range(rounds):
        screen.press("g")
        await screen.until(f"▌ {_name(0)}", _LIMIT)
        for step in range(1, _KEYS + 1):
            await asyncio.sleep(random.uniform(0.02, 0.1))
            screen.forget()
            screen.press("j")
            taken.append(await screen.until(f"▌ {_name(step)}", _LIMIT))
    return taken


async def _over_ssh(place: Place, rounds: int) -> tuple[list[float], list[float]]:
    """Measures first rows, and the bytes that come while nothing changes, with ssh to the gateway."""
    command = ["ssh", "-tt", *ssh_options(place.key), "-p", str(place.ports["ssh"]), "tui@127.0.0.1"]
    first = [await _first_rows(place, *command) for _ in range(rounds + 1)][1:]
    with Screen() as screen, screen.running(command, place.env):
        await screen.until(_WHOLE, _LIMIT)
        await asyncio.sleep(2)  # the last of the redraws
        silent = []
        for _ in range(min(rounds, 3)):
            screen.forget()
            await asyncio.sleep(_QUIET)
            silent.append(float(screen.received()))
    return first, silent


async def _first_rows(place: Place, *command: str) -> float:
    with Screen() as screen:
        screen.start_clock()
        with screen.running(command, place.env):
            return await screen.until(_name(0), _LIMIT)


def _name(number: int) -> str:
    return f"bench-{number:05}"


async def _fill(place: Place) -> None:
    """Writes sessions into the server's database directly: creating each by the API would take minutes."""
    owner, spec, made = user_name(), SessionSpec(image="debian:12"), clock.now() - _AGE
    async with open_store(place.database, clock.now) as store:
        for start in range(0, _SESSIONS, _AT_ONCE):
            async with store.write("bench") as tx:
                for number in range(start, start + _AT_ONCE):
                    await tx.put(new_session(clock.new_uid(), SessionName(owner, _name(number)), spec, made))
