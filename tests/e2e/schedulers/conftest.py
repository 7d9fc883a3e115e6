"""One system for all programs and commands of schedulers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.system import System, new_system


@pytest.fixture(scope="package")
def system(busybox: str) -> Iterator[System]:
    made = new_system()
    try:
        made.up("--default-image", busybox)
        yield made
    finally:
        made.destroy()
