"""Waits for the agents of a server: prints when it answers again, and when COUNT agents are connected.

    python -m bench.agents PORT COUNT

Prints two times of the system's monotonic clock, in seconds: of the first answer after agents were missing, and of all.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.error
import urllib.request
from typing import Final

_AGENTS: Final = re.compile(rb'^netvps_streams{kind="agent_control"} ([0-9.e+]+)$', re.MULTILINE)
_PATIENCE: Final = 900.0  # seconds


def connected(port: int) -> int:
    """Returns the number of connected agents; -1 if the server does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = _AGENTS.search(answer.read())
    except (urllib.error.URLError, OSError):
        return -1
    return int(float(found[1])) if found else -1


def main() -> int:
    """Polls; fails after 15 minutes."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    deadline = time.monotonic() + _PATIENCE
    missing = False
    first = 0.0
    while (now := time.monotonic()) < deadline:
        agents = connected(port)
        missing = missing or agents < count
        if missing and agents >= 0:
            first = first or now
            if agents >= count:
                print(first, now)
                return 0
        time.sleep(0.05)
    return 1


if __name__ == "__main__":
    sys.exit(main())
