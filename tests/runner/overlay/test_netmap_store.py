from __future__ import annotations

import json
from pathlib import Path

from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate
from netvps.domain.overlay.peer_health import Health
from netvps.runner.overlay.netmap_store import FileNetmapStore, Known
from tests.runner.overlay.fakes import SETTINGS, lease, peer


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    endpoint = Endpoint("s1", "web", "anna", "10.128.4.2")
    netmap = Netmap().updated(NetmapUpdate(7, peers=(peer(1), peer(2)), endpoints=(endpoint,), caught_up=True))
    known = Known(SETTINGS, lease(1, "runner1", epoch=3), netmap, Health({"runner2": 1300}, checksum_offload=False))
    store = FileNetmapStore(tmp_path / "overlay.json", "runner1")
    assert store.load() is None
    store.writer(known)()
    assert store.load() == known
    assert (tmp_path / "overlay.json").stat().st_mode & 0o777 == 0o600


def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "overlay.json"
    FileNetmapStore(path, "runner1").writer(Known(SETTINGS, lease(1, "runner1"), Netmap()))()
    kept = json.loads(path.read_text())
    del kept["health"]
    path.write_text(json.dumps(kept))
    assert FileNetmapStore(path, "runner1").load() == Known(SETTINGS, lease(1, "runner1"), Netmap(), Health())


def test_that_of_another_runner_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    path = tmp_path / "overlay.json"
    FileNetmapStore(path, "runner1").writer(Known(SETTINGS, lease(1, "runner1"), Netmap()))()
    assert FileNetmapStore(path, "runner2").load() is None


def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    path = tmp_path / "overlay.json"
    for content in ("", "{}", "[1]", '{"version": 1, "runner": "runner1", "generation": "x"}'):
        path.write_text(content)
        assert FileNetmapStore(path, "runner1").load() is None
