"""`pause`: from a paused session to a finished `ssh true`; through netvps, and by hand.

A login at the gateway resumes the session: the request passes the control plane and the runner before Docker thaws the
container, and the gateway dials meanwhile. The goal is for what the pause adds to a login of a running session.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.result import Goal, Measure, Row
from bench.subjects import pair
from bench.turns import in_turn, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable


def measure(rounds: int) -> list[Row]:
    """Measures two rows."""
    with pair() as (session, container):
        ours, theirs = "netvps: ssh to a paused session", "docker unpause, ssh"
        running = "netvps: ssh to a running session"
        subjects = {
            ours: partial(_paused, session.pause, partial(session.ssh, "true")),
            theirs: partial(_paused, container.pause, container.wake),
            running: partial(milliseconds, partial(session.ssh, "true")),
        }
        samples = in_turn(rounds, subjects)
    added = {ours: samples[ours], running: samples[running]}
    return [
        Row("wake to ssh", "ms", {name: samples[name] for name in (ours, theirs)}),
        Row("what the pause adds", "ms", added, Goal(Measure.DIFFERENCE, 100)),
    ]


def _paused(pause: Callable[[], None], wake: Callable[[], None]) -> float:
    pause()
    return milliseconds(wake)
