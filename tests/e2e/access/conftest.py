"""One system for the tests of the terminal UI, over ssh and in the browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.system import System, new_system


@pytest.fixture(scope="package")
def ui_system(busybox: str) -> Iterator[System]:
    """With session dev1 and a registered key, "ui-key" in its home."""
    made = new_system()
    try:
        made.up("--default-image", busybox)
        made.netvps("create", "dev1")
        made.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made.home / "ui-key")
        made.netvps("key", "add", made.home / "ui-key.pub")
        yield made
    finally:
        made.destroy()
