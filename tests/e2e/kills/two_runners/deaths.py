"""What dies in a storm over two machines: programs, engines, the receiver of a copy, the network in between."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from netvps.domain.moves.move import MoveStage
from netvps.domain.runner.docker_names import LABEL_SESSION
from netvps.errors import NetvpsError, NotFound
from tests.e2e.kills.random_kills import NAMES
from tests.support.fair_clock import FAIR

if TYPE_CHECKING:
    import random
    from collections import Counter

    from netvps.domain.moves.move import MoveView
    from netvps.rpc.client.client import Client
    from tests.e2e.kills.two_runners.cluster import Cluster

RUNNERS: Final = ("box1", "box2")
WAYS: Final = {"server": 18, "runner": 18, "both": 4, "all": 4, "engine": 10, "session": 6} | {
    "receiver": 10,
    "cut": 8,
    "point": 22,
}
"""How to kill, and how often in a hundred."""
_TRANSFER: Final = 4.0
"""Seconds to wait until something travels."""


def kill(system: Cluster, way: str, choices: random.Random, outcomes: Counter[str]) -> None:
    """Kills in one of WAYS, except at a point."""
    runner = choices.choice(RUNNERS)
    match way:
        case "server":
            system.kill("server")
        case "runner":
            system.kill(runner)
        case "both":
            system.kill(*RUNNERS)
        case "all":
            system.kill(*system.pids())
        case "engine":
            system.kill(f"engine of {runner}")
        case "session":
            _kill_session(system, runner, choices)
        case "receiver":
            system.kill(_receiver(system, choices, outcomes) or runner)
        case "cut":
            _receiver(system, choices, outcomes)
            system.cut(choices.uniform(0.5, 4))


def _kill_session(system: Cluster, runner: str, choices: random.Random) -> None:
    """As the kernel might, by its process 1."""
    host = system.host(runner)
    with suppress(subprocess.TimeoutExpired):
        running = sorted(host.docker("ps", "-q", "--filter", f"label={LABEL_SESSION}", check=False).split())
        if running:
            host.docker("kill", choices.choice(running), check=False)


def _receiver(system: Cluster, choices: random.Random, outcomes: Counter[str]) -> str:
    """The runner that gets a session, which is made to move, in the middle of that; '' if none does."""
    names = list(NAMES)
    choices.shuffle(names)
    deadline = FAIR.now() + _TRANSFER
    with suppress(NetvpsError), system.connect() as client:
        for name in names:
            with suppress(NetvpsError):
                client.move_session(name)
                break
        while FAIR.now() < deadline:
            for move in (move for name in names for move in _moves(client, name)):
                if move.stage is MoveStage.COPYING:
                    outcomes["in mid-transfer"] += 1
                    return move.target
            time.sleep(0.05)
    return ""


def _moves(client: Client, name: str) -> list[MoveView]:
    try:
        return client.list_moves(name)
    except NotFound:
        return []
