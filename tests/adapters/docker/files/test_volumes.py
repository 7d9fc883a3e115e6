"""A session never comes up with an empty volume in place of one that it had."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import VolumeMissing
from netvps.adapters.docker.files.volumes import SessionVolumes
from netvps.domain.runner.docker_names import container_name, session_labels, snapshot_image, volume_name
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Blueprint, Volume
from tests.support.images import busybox_archive, import_image

UID, DATA = "0123456789abc", volume_name("0123456789abc", "/data")
PLAN = Blueprint(
    session_uid=UID, name=container_name(UID), image="debian:12", hostname="h", labels={}, env=(),
    entrypoint=("/bin/sh",), binds=(), volumes=(Volume(DATA, "/data"),), tmpfs=(), shm_bytes=64 << 20, open_files=0,
    cpus=0, memory_bytes=0, pids=100, attachment=Attachment(Net.NONE),
)  # fmt: skip


class Engine:
    """An engine with these volumes."""

    def __init__(self, *volumes: str) -> None:
        self.volumes = volumes

    def inspect_volume(self, name: str) -> dict[str, Any]:
        if name not in self.volumes:
            raise docker.errors.NotFound("no such volume")
        return {"Name": name}


def test_a_new_session_has_had_no_volume() -> None:
    SessionVolumes(None).require(Engine(), PLAN)


def test_what_a_session_had_has_to_be_there_also_for_the_next_process(tmp_path: Path) -> None:
    SessionVolumes(tmp_path / "volumes").note(UID, [DATA])
    known = SessionVolumes(tmp_path / "volumes")
    known.require(Engine(DATA), PLAN)
    with pytest.raises(
        VolumeMissing, match=f"{DATA}, with the session's files in /data, .*docker volume create {DATA}"
    ):
        known.require(Engine(), PLAN)
    known.forget(UID)
    SessionVolumes(tmp_path / "volumes").require(Engine(), PLAN)


def test_a_snapshot_shows_that_there_were_volumes() -> None:
    with pytest.raises(VolumeMissing):
        SessionVolumes(None).require(Engine(), replace(PLAN, image=snapshot_image(UID, 7)))


def test_what_a_container_mounts_is_kept_if_it_is_a_session_s(tmp_path: Path) -> None:
    known = SessionVolumes(tmp_path)
    mounts = [{"Type": "volume", "Name": name} for name in (DATA, "theirs")] + [{"Type": "bind", "Source": "/x"}]
    known.note_mounted(UID, {"Mounts": mounts})
    assert SessionVolumes(tmp_path).of(UID) == {DATA}


def test_a_file_that_is_damaged_or_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{UID}.json").write_text("{")
    assert SessionVolumes(tmp_path).of(UID) == frozenset()
    (tmp_path / "file").touch()
    unwritable = SessionVolumes(tmp_path / "file")
    unwritable.note(UID, [DATA])
    assert unwritable.of(UID) == {DATA}


@pytest.fixture
def image() -> Iterator[str]:
    reference = f"netvps-test-{secrets.token_hex(4)}:latest"
    import_image(busybox_archive(), reference)
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], stdout=subprocess.DEVNULL, check=False, timeout=60)


@pytest.mark.docker
async def test_docker_is_not_let_make_an_empty_one(image: str, tmp_path: Path) -> None:
    engine, node = await Docker.open(), f"test{secrets.token_hex(6)}"
    ours = DockerEngine(engine, node=node, node_name="here", copies=tmp_path / "none", volumes=tmp_path)
    plan = replace(PLAN, image=image, labels=session_labels(UID, node, 1, 1), entrypoint=("/bin/sleep", "60"))
    try:
        await ours.create(plan)
        container = await engine.call("container", lambda api: api.inspect_container(plan.name)["Id"])
        await engine.call("container", lambda api: api.remove_container(container))
        await ours.create(plan)  # it is there still
        container = await engine.call("container", lambda api: api.inspect_container(plan.name)["Id"])
        await engine.call("container", lambda api: api.remove_container(container))
        await engine.call("volume", lambda api: api.remove_volume(DATA))
        with pytest.raises(VolumeMissing):
            await ours.create(plan)
        await engine.call("volume", lambda api: api.create_volume(DATA, labels=plan.labels))  # the loss is accepted
        await ours.create(plan)
    finally:
        await ours.erase(UID)
        engine.close()
    assert list(tmp_path.iterdir()) == []
