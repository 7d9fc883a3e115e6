"""What netvps made on a machine is listed, and removed: files of people only where that is asked for."""

from __future__ import annotations

import fcntl
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from netvps.adapters.docker.inventory import Inventory
from netvps.adapters.docker.leftovers import Leftover
from netvps.cli.machine import service
from netvps.domain.runner.docker_names import isolated_network, session_labels, volume_name
from netvps.process import clock
from netvps.programs import uninstall
from netvps.programs.uninstall import Found, Scope
from tests.support.namespaces import namespace

NOWHERE = ("--docker-host", "unix:///nowhere")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders and units of a machine's own, without systemd."""
    (tmp_path / "state/ca").mkdir(parents=True)
    (tmp_path / "run/sessions").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(service, "SYSTEM_UNITS", tmp_path / "units")
    monkeypatch.setattr(service, "RUNNING", tmp_path / "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(uninstall, "unprivileged", lambda: "not this machine's network")
    monkeypatch.setattr(uninstall, "if_nameindex", list)
    monkeypatch.setattr("netvps.adapters.docker.client._installed", lambda: False)
    return tmp_path


def _words(machine: Path, *words: str) -> list[str]:
    return ["--state-dir", str(machine / "state"), "--runtime-dir", str(machine / "run"), *words]


def test_each_kind_is_listed_and_files_of_people_only_on_demand() -> None:
    found = Found(
        units=[Path("/u/netvps.service")],
        running=True,
        sessions=[Leftover("u", "container", "netvps-vps-u")],
        networks=["netvps-net-1"],
        interfaces=["nv0"],
        environments=["netvps/debian:latest"],
        folders=[Path("/s")],
    )
    kept = ["unit\t/u/netvps.service", "program\tnetvps up", "network\tnetvps-net-1", "interface\tnv0"]
    assert found.lines(Scope(sessions=False, state=False)) == [*kept, "image\tnetvps/debian:latest"]
    everything = found.lines(Scope(sessions=True, state=True))
    assert everything[2] == "container\tnetvps-vps-u"
    assert everything[-1] == "folder\t/s"


def test_a_dry_run_changes_nothing_and_the_state_is_removed_on_demand_only(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = service.unit_file()
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.touch()
    assert uninstall.main(_words(machine, *NOWHERE, "--state", "--dry-run")) == 0
    printed = capsys.readouterr()
    folders = [f"would remove\tfolder\t{machine}/state", f"would remove\tfolder\t{machine}/run"]
    assert printed.out.splitlines() == [f"would remove\tunit\t{unit}", *folders]
    assert "nothing of Docker is listed" in printed.err
    assert uninstall.main(_words(machine, *NOWHERE)) == 0
    assert not unit.exists()
    assert (machine / "state/ca").exists()
    assert f"data stays in {machine}/state; --state removes it" in capsys.readouterr().err
    assert uninstall.main(_words(machine, *NOWHERE, "--state")) == 0
    assert not (machine / "state").exists()
    assert not (machine / "run").exists()


def test_a_folder_that_is_not_of_netvps_is_never_removed(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "state/ca").rmdir()
    (machine / "state/thesis.tex").touch()
    assert uninstall.main(_words(machine, *NOWHERE, "--state")) == 10
    assert f"{machine}/state is not a folder of netvps" in capsys.readouterr().err
    assert (machine / "state/thesis.tex").exists()
    assert (machine / "run").exists()


def test_a_server_that_runs_keeps_its_state(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (machine / "state/server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert uninstall.main(_words(machine, *NOWHERE, "--state")) == 5
    assert "a `netvps server` runs" in capsys.readouterr().err
    assert (machine / "state").exists()


def test_an_engine_that_is_down_is_an_error(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert uninstall.main(_words(machine, "--docker-host", "tcp://127.0.0.1:1", "--state")) != 0
    assert "Docker" in capsys.readouterr().err
    assert (machine / "state").exists()


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A volume and a network of a runner that is gone; nothing else of this engine is seen."""
    node, uid = clock.new_uid(), clock.new_uid()
    volume, network = volume_name(uid, secrets.token_hex(4)), isolated_network(node, "ann")
    labels = session_labels(uid, node, 1, 1)
    engine = docker.from_env()

    async def nodes(_: Any) -> list[str]:
        return [node]

    async def none(_: Any) -> list[str]:
        return []

    monkeypatch.setattr(Inventory, "nodes", nodes)
    monkeypatch.setattr(Inventory, "environments", none)
    try:
        engine.volumes.create(volume, labels=labels)
        engine.networks.create(network, labels=labels, internal=True)
        yield volume, network
    finally:
        for kind, name in ((engine.volumes, volume), (engine.networks, network)):
            for one in kind.list():
                if one.name == name:
                    one.remove()
        engine.close()


@pytest.mark.docker
def test_files_of_sessions_are_refused_then_removed(
    machine: Path, things: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    volume, network = things
    assert uninstall.main(_words(machine)) == 5
    assert f"there are files of sessions on this machine ({volume}): remove" in capsys.readouterr().err
    assert uninstall.main(_words(machine, "--dry-run")) == 0
    printed = capsys.readouterr()
    assert f"would remove\tnetwork\t{network}" in printed.out
    assert volume not in printed.out
    assert "--sessions removes them" in printed.err
    assert uninstall.main(_words(machine, "--sessions")) == 0
    assert f"remove\tvolume\t{volume}" in capsys.readouterr().out
    assert uninstall.main(_words(machine, "--dry-run", "--sessions")) == 0
    left = capsys.readouterr().out
    assert volume not in left
    assert network not in left


@pytest.mark.netns
def test_the_overlay_is_removed_with_its_interfaces(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uninstall, "unprivileged", lambda: "")
    monkeypatch.setattr(uninstall, "if_nameindex", socket.if_nameindex)
    with namespace() as made, made.inside():
        made.ip("link", "add", "nv0", "type", "vxlan", "id", "7", "dstport", "14789")
        assert uninstall.main(_words(machine, *NOWHERE, "--dry-run")) == 0
        assert capsys.readouterr().out == "would remove\tinterface\tnv0\n"
        assert "nv0" in made.links()
        assert uninstall.main(_words(machine, *NOWHERE)) == 0
        assert "nv0" not in made.links()
