"""Random kills over random operations on two machines: nothing lost, nothing double, no orphans.

More of them, or the same again: scripts/test tests/e2e/kills/two_runners --kills 100 --seed 7
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.kills.faulty import own_request_ids
from tests.e2e.kills.random_kills import judged
from tests.e2e.kills.two_runners.cluster import Cluster
from tests.e2e.kills.two_runners.two_storm import TwoStorm
from tests.e2e.overlay.overlay_lab import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.netns]
KILLS = 100 if os.environ.get("NETVPS_FULL") else 10


def test_random_kills_on_two_machines_lose_nothing_double_nothing_and_leave_nothing(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kills = request.config.getoption("--kills") or KILLS
    seed = request.config.getoption("--seed") or secrets.token_hex(4)
    system = Cluster()
    storm = TwoStorm(system, IMAGE, seed, kills, threading.Event())
    try:
        with own_request_ids():
            system.start()
            said = judged(storm, seed)
    except Exception as error:
        story = system.story(tmp_path / "logs")
        (tmp_path / "logs/diary").write_text("\n".join([*storm.diary, ""]))
        raise AssertionError(f"--seed {seed}: {error}\n{story}") from error
    finally:
        system.disarm()
        system.destroy()
    came = ", ".join(f"{number} {what}" for what, number in sorted(storm.outcomes.items()))
    with capsys.disabled():
        sys.stdout.write(f"\n{said}; {came}\n")
