"""`idle`: CPU and memory of idle programs, with 0, 10 and 100 sessions.

Memory is the proportional set size (PSS): a program's private memory, and its share of shared memory such as the pages
of its binary. The agent is one session's two processes together: PID 1 and the agent proper.
"""

from __future__ import annotations

import time
from typing import Final

from bench.image import image_with_sshd
from bench.place import Place, run, unique
from bench.result import Goal, Measure, Row
from netvps.adapters.process_usage import children, cpu_seconds, proportional_bytes

_STEPS: Final = (0, 10, 100)  # sessions that run
_WINDOW: Final = 20.0  # seconds of which the CPU time is taken
_SETTLE: Final = 10.0  # seconds after the last create
_NAMES: Final = ("runner", "server", "agent")
_MEGABYTE: Final = 1 << 20
_PERCENT: Final = {"runner": 1.0, "agent": 0.1}  # of one CPU; the agent's is what "0 %" is to a clock of 10 ms
_MEGABYTES: Final = {"runner": 80.0, "agent": 15.0}


def measure(rounds: int) -> list[Row]:
    """Measures CPU and memory of each program per number of sessions; one window per round."""
    rows = []
    with Place() as place, image_with_sshd(place) as image:
        place.up()
        names: list[str] = []
        try:
            for count in _STEPS if rounds > 1 else _STEPS[:2]:
                while len(names) < count:
                    names.append(unique("s"))
                    place.netvps("create", names[-1], "--image", image, "--memory", "64M")
                time.sleep(_SETTLE)
                rows += _rows(place, count, rounds)
        finally:
            if names:
                place.netvps("rm", "--yes", *names, check=False)
    return rows


def _rows(place: Place, count: int, rounds: int) -> list[Row]:
    processes = [(name, [pid]) for name, pid in place.programs()]
    processes += [("agent", [pid, *children(pid)]) for pid in _agents(place)[:1]]
    pids = {name: family for name, family in processes if name in _NAMES}
    cpu: dict[str, list[float]] = {name: [] for name in pids}
    memory: dict[str, list[float]] = {name: [] for name in pids}
    for _ in range(rounds):
        before = {name: sum(map(cpu_seconds, family)) for name, family in pids.items()}
        time.sleep(_WINDOW)
        for name, family in pids.items():
            cpu[name].append((sum(map(cpu_seconds, family)) - before[name]) / _WINDOW * 100)
            memory[name].append(sum(map(proportional_bytes, family)) / _MEGABYTE)
    rows = []
    for name in pids:
        beside = f"{name}, {count} sessions"
        rows.append(Row(f"CPU of {beside}", "%", {name: cpu[name]}, _at_most(_PERCENT.get(name))))
        rows.append(Row(f"memory of {beside}", "MB", {name: memory[name]}, _at_most(_MEGABYTES.get(name))))
    return rows


def _at_most(limit: float | None) -> Goal | None:
    return None if limit is None else Goal(Measure.MEDIAN, limit)


def _agents(place: Place) -> list[int]:
    """Returns the pids of PID 1 in the sessions' containers."""
    from netvps.programs.wiring.identity import load_identity

    identity = load_identity(place.folder / "s")
    found = run("docker", "ps", "-q", "--filter", f"label=netvps.node={identity.uid}").split() if identity else []
    return [int(pid) for pid in run("docker", "inspect", "-f", "{{.State.Pid}}", *found).split()] if found else []
