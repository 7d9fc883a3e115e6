"""The folder of the private socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.gateway.worker.private_folder import make_private


def test_a_folder_is_made_for_this_account_and_a_stale_socket_removed(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "socket"
    make_private(path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.touch()
    make_private(path)
    assert not path.exists()


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="remove it"):
        make_private(folder / "socket")
