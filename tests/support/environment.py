"""The environment that the tests were started in, for the programs that they start."""

from __future__ import annotations

import os
from typing import Final

INHERITED: Final = {name: value for name, value in os.environ.items() if not name.startswith("NETVPS_")}
"""As it was at first: pytest changes its own with each test, and a thread that reads it just then fails."""
