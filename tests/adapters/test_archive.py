"""An archive comes back byte for byte, or not at all."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from netvps.adapters.archive import pack, unpack
from netvps.errors import AlreadyExists, ConfigError, DataLoss

SAID = {"version": "1.0", "created": "2026-05-04T03:02:01+00:00", "cluster_id": "c1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "ca").mkdir(parents=True)
    (made / "a.db").write_bytes(bytes(range(256)) * 10_000)
    (made / "ca/key").write_text("secret")
    return made


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    pack(folder, tmp_path / "backup", **SAID)
    return tmp_path / "backup"


def rewritten(backup: Path, change: Any) -> None:
    """Lets `change` alter the members: name → content."""
    with tarfile.open(backup) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(backup, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_it_comes_back(folder: Path, backup: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    manifest = unpack(backup, tmp_path / "out")
    assert (manifest.version, manifest.cluster_id) == ("1.0", "c1")
    for name in ("a.db", "ca/key"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
        assert stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_nothing_is_replaced_and_nothing_left(folder: Path, backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(AlreadyExists, match="exists already"):
        pack(folder, backup, **SAID)
    assert backup.read_bytes() == before
    with pytest.raises(ConfigError, match="cannot write"):
        pack(folder, tmp_path / "missing/backup", **SAID)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "made"]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_one_that_breaks_off_is_refused(backup: Path, tmp_path: Path, part: float) -> None:
    content = backup.read_bytes()
    backup.write_bytes(content[: int(len(content) * part)])
    (tmp_path / "out").mkdir()
    with pytest.raises(DataLoss, match="is damaged"):
        unpack(backup, tmp_path / "out")


def _flip(members: dict[str, bytes]) -> None:
    members["ca/key"] = b"Secret"


def _lose(members: dict[str, bytes]) -> None:
    del members["ca/key"]


def _add(members: dict[str, bytes]) -> None:
    members["ca/more"] = b""


def _no_json(members: dict[str, bytes]) -> None:
    members["manifest.json"] = b"{"


def _outside(members: dict[str, bytes]) -> None:
    manifest = json.loads(members["manifest.json"])
    manifest["entries"][0]["name"] = "../a.db"
    members["manifest.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize("change", [_flip, _lose, _add, _no_json, _outside])
def test_one_that_was_changed_is_refused(backup: Path, tmp_path: Path, change: Any) -> None:
    rewritten(backup, change)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataLoss, match="is damaged"):
        unpack(backup, tmp_path / "out")
    assert not (tmp_path / "a.db").exists()


def test_a_newer_form_is_refused(backup: Path, tmp_path: Path) -> None:
    def newer(members: dict[str, bytes]) -> None:
        members["manifest.json"] = members["manifest.json"].replace(b'"format": 1', b'"format": 2')

    rewritten(backup, newer)
    with pytest.raises(ConfigError, match="newer than this program"):
        unpack(backup, tmp_path)


def test_what_is_no_backup_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(DataLoss, match="is damaged"):
        unpack(tmp_path / "x", tmp_path)
    with pytest.raises(ConfigError, match="cannot read backup"):
        unpack(tmp_path / "missing", tmp_path)
    with tarfile.open(tmp_path / "y", "w:gz"):
        pass
    with pytest.raises(ConfigError, match="is not a netvps backup"):
        unpack(tmp_path / "y", tmp_path)
