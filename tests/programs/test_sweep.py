"""What is left behind is found, and only what the server does not know is removed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.leftovers import Leftover
from netvps.cli.server.contexts import Context
from netvps.domain.access.accounts import Role
from netvps.domain.runner.docker_names import session_labels, volume_name
from netvps.domain.session.spec import SessionSpec
from netvps.errors import ConfigError, NotPermitted
from netvps.process import clock
from netvps.programs import sweep
from netvps.programs.sweep import Folders, known_to_server, orphaned
from netvps.programs.wiring.control_plane import build
from netvps.programs.wiring.identity import Identity, save_identity
from netvps.rpc.client.client import Client, Endpoint
from netvps.rpc.client.link_client import join
from netvps.settings import ServerSettings, load
from tests.support.patience import PATIENCE


@pytest.fixture
async def server(server_flags: dict[str, str]) -> AsyncIterator[ServerSettings]:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        yield settings
        await plane.stop()


@pytest.fixture
async def identity(server: ServerSettings) -> Identity:
    """A runner that joined, and does not run."""

    def token() -> str:
        with Client(Endpoint(f"unix:{server.paths.api_socket}")) as client:
            return client.create_join_token()[0]

    address, key = f"127.0.0.1:{server.api_port}", new_key()
    joined = await join(address, await asyncio.to_thread(token), signing_request(key), "box1")
    made = Identity(joined.runner, key, joined.certificate, joined.ca_certificate, address, joined.link_address)
    save_identity(server.paths.state, made)
    return made


def _create(server: ServerSettings) -> str:
    with Client(Endpoint(f"unix:{server.paths.api_socket}")) as client:
        return client.create_session("dev1", spec=SessionSpec(image="debian")).uid


@pytest.mark.docker
async def test_what_the_server_knows_is_kept_and_the_rest_removed(
    server: ServerSettings, identity: Identity, capfd: pytest.CaptureFixture[str]
) -> None:
    kept, gone = await asyncio.to_thread(_create, server), clock.new_uid()
    run = server.paths.runtime / "sessions"
    for uid in (kept, gone):
        (run / uid).mkdir(parents=True)
    docker = await Docker.open()
    engine = DockerEngine(
        docker, node=identity.uid, node_name=identity.name, copies=server.paths.state / "runner/copies"
    )
    try:
        for uid in (kept, gone):
            labels, name = session_labels(uid, identity.uid, 1, 1), volume_name(uid, secrets.token_hex(4))
            await docker.call("volume", lambda api, name=name, labels=labels: api.create_volume(name, labels=labels))  # type: ignore[misc]
        words = ["--state-dir", str(server.paths.state), "--runtime-dir", str(server.paths.runtime)]

        # Without the server's word nothing is removed: this runner was assigned neither of them.
        assert await _run([*words, "--dry-run"]) == 0
        said = capfd.readouterr()
        assert said.out.count("would remove\tvolume") == said.out.count("would remove\tfolder") == 2
        assert await engine.owned() == {kept, gone}

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NETVPS_RUNTIME_DIR", str(server.paths.runtime))
            patch.setenv("NETVPS_CONFIG_DIR", str(server.paths.state / "nothing"))
            assert await _run(words) == 0
        said = capfd.readouterr()
        assert said.out.count("removed\t") == 2
        assert f"removed\tfolder\t{run / gone}" in said.out
        assert "2 of 4 objects of runner box1" in said.err
        assert await engine.owned() == {kept}
        assert [path.name for path in run.iterdir()] == [kept]
    finally:
        for uid in (kept, gone):
            await engine.erase(uid)
        docker.close()


async def _run(words: list[str]) -> int:
    """As a process: it brings an event loop of its own."""
    import sys

    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "netvps.programs.sweep", *words)
    async with asyncio.timeout(PATIENCE):
        return await process.wait()


async def test_who_sees_not_all_sessions_is_refused(server: ServerSettings, identity: Identity) -> None:
    local = f"unix:{server.paths.api_socket}"

    def key() -> str:
        with Client(Endpoint(local)) as client:
            client.create_user("ann", Role.USER)
            return client.create_api_key("ann")

    secret = await asyncio.to_thread(key)
    await asyncio.to_thread(_create, server)
    ann = Context("ann", f"127.0.0.1:{server.api_port}", identity.ca_certificate, secret)
    with pytest.raises(NotPermitted, match="ann does not see all sessions"):
        await asyncio.to_thread(known_to_server, identity, ann)
    admin = Context("local", local)
    assert len(await asyncio.to_thread(known_to_server, identity, admin)) == 1
    stranger = Identity("box1", identity.key, identity.certificate, "another CA", identity.server, identity.link)
    with pytest.raises(ConfigError, match="is not the server of"):
        await asyncio.to_thread(known_to_server, stranger, admin)


def test_a_machine_without_a_runner_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--dry-run", "--state-dir", str(tmp_path)]) == 10
    assert "no runner has joined" in capsys.readouterr().err


def test_only_what_has_a_sessions_name(tmp_path: Path) -> None:
    uid, other = clock.new_uid(), clock.new_uid()
    for name in (f"run/{uid}", "run/lost+found", "logs", "last_runs", "copies/snapshots"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / f"logs/{other}.log").touch()
    (tmp_path / "logs/notes.log").touch()
    (tmp_path / f"last_runs/{other}.json").touch()
    (copy := tmp_path / f"copies/{other}.json").touch()
    (snapshot := tmp_path / f"copies/snapshots/{other}-{uid}.json").touch()
    folders = Folders(tmp_path / "run", tmp_path / "logs", tmp_path / "last_runs", tmp_path / "copies")
    there = folders.things()
    assert {thing.session_uid for thing in there} == {uid, other}
    assert orphaned(there, {uid}) == [
        Leftover(other, "copy", str(copy)),
        Leftover(other, "log", str(tmp_path / f"logs/{other}.log")),
        Leftover(other, "snapshot", str(snapshot)),
    ]
    folders.remove(other)
    folders.remove(other)
    assert not list((tmp_path / "last_runs").iterdir())
    copy.unlink()  # the engine's, which erases both
    snapshot.unlink()
    assert [thing.session_uid for thing in folders.things()] == [uid]
    assert (tmp_path / "logs/notes.log").exists()
