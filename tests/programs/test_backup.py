"""From a server that runs, into a file, and back; tests of `netvps restore` are beside this."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from netvps.domain.access.accounts import Role
from netvps.errors import AlreadyExists
from netvps.programs import backup, restore
from netvps.programs.wiring.control_plane import build
from netvps.rpc.client.client import Client, Endpoint
from netvps.settings import ServerSettings, load


def _add_user(settings: ServerSettings, name: str) -> None:
    with Client(Endpoint(f"unix:{settings.paths.api_socket}")) as client:
        client.create_user(name, Role.USER)


async def test_a_server_comes_back_as_it_was_backed_up(
    server_flags: dict[str, str], state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, file = load(ServerSettings, server_flags), tmp_path / "backup"
    settings.paths.prepare()
    words = [str(file), "--state-dir", str(state)]
    async with build(settings) as plane:
        await asyncio.to_thread(_add_user, settings, "ann")
        assert await asyncio.to_thread(backup.main, words) == 0
        cluster, key = await plane.store.cluster_id(), (state / "ca/ca.key").read_bytes()
        await asyncio.to_thread(_add_user, settings, "bob")
        await plane.stop()
    assert cluster in capsys.readouterr().out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]

    assert restore.main(words) == 5
    assert "with --yes it is moved aside" in capsys.readouterr().err
    assert restore.main([*words, "--yes"]) == 0
    assert cluster in capsys.readouterr().out
    assert (state / "ca/ca.key").read_bytes() == key
    (replaced,) = state.glob("replaced-*")
    assert {"netvps.db", "ca"} <= {path.name for path in replaced.iterdir()}
    assert not list(state.glob(".restore-*"))
    async with build(settings) as plane:
        assert await plane.store.cluster_id() == cluster
        with pytest.raises(AlreadyExists):
            await asyncio.to_thread(_add_user, settings, "ann")
        await asyncio.to_thread(_add_user, settings, "bob")
        await plane.stop()


def test_a_server_that_never_was_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup.main([str(tmp_path / "backup"), "--state-dir", str(tmp_path / "s")]) == 10
    assert "there is no CA" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()


def test_a_folder_that_is_not_there_is_reported(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup.main(["/nonexistent/folder/backup", "--state-dir", str(made)]) == 10
    assert "cannot write in /nonexistent/folder" in capsys.readouterr().err


def test_postgresql_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETVPS_DATABASE_URL", "postgresql://netvps:secret@db/netvps")
    for program in (backup, restore):
        assert program.main([str(tmp_path / "backup"), "--state-dir", str(tmp_path)]) == 10
        said = capsys.readouterr().err
        assert "pg_dump" in said
        assert "secret" not in said
