"""Random kills over random operations: nothing lost, nothing double, no orphans.

More of them, or the same again: scripts/test tests/e2e/kills/test_random_kills.py --kills 1000 --seed 7
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

from tests.e2e.kills.faulty import own_request_ids
from tests.e2e.kills.ground import DATABASES
from tests.e2e.kills.random_kills import storm

if TYPE_CHECKING:
    from tests.e2e.kills.ground import Ground

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.postgres]
KILLS = 200 if os.environ.get("NETVPS_FULL") else 20
MAX_SYSTEMS = 4
"""At once, half of them on PostgreSQL, each with ten kills at least: its start costs as much as some kills."""


def test_random_kills_lose_nothing_double_nothing_and_leave_nothing(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], ground: Ground
) -> None:
    kills = request.config.getoption("--kills") or KILLS
    seed = request.config.getoption("--seed") or secrets.token_hex(4)
    number_of_systems = max(len(DATABASES), min(MAX_SYSTEMS, kills // 10))
    enough = threading.Event()

    def one(number: int) -> str:
        database = DATABASES[number % len(DATABASES)]
        called = f"{seed}/{number} on {database}"
        system = ground.new_system(database)
        try:
            return storm(system, ground.image, called, kills // number_of_systems, enough)
        except Exception as error:
            story = system.story(ground.logs / f"random-kills-{number}.log")
            raise AssertionError(f"--seed {seed}, system {called}: {error}\n{story}") from error
        finally:
            system.disarm()
            system.destroy()

    with own_request_ids(), ThreadPoolExecutor(number_of_systems) as pool:
        systems = [pool.submit(one, number) for number in range(number_of_systems)]
        try:
            wait(systems)
        finally:
            enough.set()  # Ctrl-C: what was done so far is judged, and all is removed
    answered = [system.result() for system in systems]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *answered, ""]))
