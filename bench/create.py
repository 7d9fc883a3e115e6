"""`create`: from nothing to a finished `ssh true`; through netvps, and by hand.

Of 540 ms, 110 pass until the command has sent its request, 20 until the runner has received it, 40 for creating the
container (and its boot token, in parallel), 250 for Docker to start it, 20 until the command has ended, and 60 for ssh.
By hand, the container starts 50 ms earlier on Docker's own network, and OpenSSH's server takes 150 ms longer per login.
"""

from __future__ import annotations

from functools import partial

from bench.result import Goal, Measure, Row
from bench.subjects import all_three, timed
from bench.turns import in_turn


def measure(rounds: int) -> list[Row]:
    """Measures one row."""
    with all_three("netvps create, ssh", "docker run, ssh") as makers:
        samples = in_turn(rounds, {name: partial(timed, make, step="make") for name, make in makers.items()})
    return [Row("create to ssh", "ms", samples, Goal(Measure.RATIO, 1.25))]
