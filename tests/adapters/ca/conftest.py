"""A CA made once per test, and requests to sign."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.ca import Authority, open_ca

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def now() -> datetime:
    """Real time: the programs that check certificates know no other."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def clock(now: datetime) -> Callable[[], datetime]:
    return lambda: now


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ca"


@pytest.fixture
def ca(directory: Path, clock: Callable[[], datetime]) -> Authority:
    return open_ca(directory, "c1", clock)
