from __future__ import annotations

from tests.conftest import FULL

# It builds a wheel of the version before, which takes minutes. Skipped, it would fail where NETVPS_REQUIRE names e2e.
collect_ignore = [] if FULL else ["test_upgrade.py"]
