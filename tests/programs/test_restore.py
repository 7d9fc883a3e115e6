"""A restore is done whole, or can be done again; a server never starts on half of one."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.process.locks import hold
from netvps.programs import backup, restore
from netvps.programs.restore import refuse_unfinished


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    assert backup.main([str(tmp_path / "backup"), "--state-dir", str(made)]) == 0
    return tmp_path / "backup"


def test_an_empty_folder_needs_no_yes(file: Path, tmp_path: Path) -> None:
    assert restore.main([str(file), "--state-dir", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new/netvps.db").is_file()
    assert (tmp_path / "new/ca/ca.key").is_file()
    assert not list((tmp_path / "new").glob("replaced-*"))


@pytest.mark.parametrize(("lock", "who"), [("server.lock", "netvps server"), ("up.lock", "netvps up")])
def test_a_server_that_runs_is_left_alone(
    made: Path, file: Path, capsys: pytest.CaptureFixture[str], lock: str, who: str
) -> None:
    before = (made / "netvps.db").read_bytes()
    with hold(made / lock, who):
        assert restore.main([str(file), "--yes", "--state-dir", str(made)]) == 10
    assert f"{who} already runs" in capsys.readouterr().err
    assert (made / "netvps.db").read_bytes() == before


def test_a_backup_that_is_newer_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, newer = tmp_path / "backup", tmp_path / "state"
    before = (made / "netvps.db").read_bytes()
    shutil.copytree(made, newer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "check_database", lambda _file: None)
        with sqlite3.connect(newer / "netvps.db") as database:
            database.execute("update alembic_version set version_num = '9999'")
        database.close()
        assert backup.main([str(file), "--state-dir", str(newer)]) == 0
    assert restore.main([str(file), "--yes", "--state-dir", str(made)]) == 10
    assert "newer than this program" in capsys.readouterr().err
    assert (made / "netvps.db").read_bytes() == before


@pytest.mark.parametrize("step", range(4))
def test_broken_off_anywhere_it_is_refused_by_a_server_and_done_again(
    made: Path, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Four moves: the old database and CA out, the new ones in; each may be the last."""
    moves, whole = 0, shutil.move

    def breaking(source: Path, target: Path) -> None:
        nonlocal moves
        if moves == step:
            raise OSError(5, "Input/output error")
        moves += 1
        whole(source, target)

    (made / "ca/note").write_text("before")
    words = [str(file), "--yes", "--state-dir", str(made)]
    monkeypatch.setattr(shutil, "move", breaking)
    assert restore.main(words) == 10
    assert "was interrupted (Input/output error)" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "move", whole)
    with pytest.raises(ConfigError, match="run it again"):
        refuse_unfinished(made)
    assert backup.main([str(file.with_name("other")), "--state-dir", str(made)]) == 10
    assert restore.main(words) == 0
    refuse_unfinished(made)
    assert not (made / "ca/note").exists()
    assert [note.read_text() for note in made.glob("replaced-*/ca/note")] == ["before"]
