"""Environments of stopped sessions: on the real engine, and what is left out of them."""

from __future__ import annotations

import io
import tarfile
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from docker import errors as docker_errors

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.environments.publish import Publications, _Count, _Pieces, _stopped, copy_members
from netvps.adapters.docker.errors import ContainerNotFound, ImageBuildFailed, ImageExportFailed, ImageNotFound
from netvps.adapters.docker.files.images import Contents
from netvps.domain.image.work import PublishImage
from netvps.domain.runner.docker_names import container_name, environment_maker, session_labels
from netvps.domain.uid import make_uid
from netvps.errors import InvalidInput
from tests.adapters.docker.environments.test_build import member, packed
from tests.support.images import busybox_archive, import_image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def docker() -> AsyncIterator[Docker]:
    opened = await Docker.open()
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.docker
async def test_a_stopped_session_becomes_an_image_without_its_identity(docker: Docker) -> None:
    uid, name = make_uid(1, 2), "nve-published"
    base, work = "nve-publish-base:1", PublishImage(uid, name, "1")
    import_image(busybox_archive(), base, changes=("ENV KEPT=yes", "WORKDIR /root", "LABEL mine=yes"))

    async def published() -> None:
        async with aclosing(Publications(docker, Contents()).publish(work)) as steps:
            found = [step async for step in steps]
        assert found[-1].total_bytes >= found[-1].done_bytes > 1_000_000

    def run(api: Any) -> str:
        script = (
            "mkdir -p /etc/ssh /srv; echo key > /etc/ssh/ssh_host_rsa_key; echo 1234 > /etc/machine-id;"
            " echo made > /srv/a; ln /srv/a /srv/b; ln -s a /srv/c; chown 7:8 /srv/a"
        )
        container = str(
            api.create_container(
                base,
                ["sh", "-c", script],
                name=container_name(uid),
                labels=session_labels(uid, "node", 1, 1),
                environment=["SECRET=hunter2"],
            )["Id"]
        )
        api.start(container)
        api.wait(container, timeout=30)
        return container

    def look(api: Any) -> tuple[dict[str, Any], str]:
        config = api.inspect_image(work.reference)
        script = "cat /srv/a /srv/b /srv/c; stat -c %u:%g /srv/b; ls /etc/ssh | wc -l; wc -c < /etc/machine-id; env"
        helper = api.create_container(work.reference, ["sh", "-c", script])["Id"]
        try:
            api.start(helper)
            api.wait(helper, timeout=30)
            return config, api.logs(helper).decode()
        finally:
            api.remove_container(helper)

    container = await docker.call_slowly(base, run)
    try:
        await published()
        await published()  # in place of the first
        config, said = await docker.call_slowly(base, look)
        assert said.splitlines()[:6] == ["made", "made", "made", "7:8", "0", "0"]
        assert "KEPT=yes" in said
        assert "hunter2" not in said + str(config)
        assert config["Config"]["WorkingDir"] == "/root"
        assert config["Config"]["Labels"] == {"mine": "yes", "netvps.managed": "true", "netvps.type": "env"}
        with pytest.raises(ImageNotFound):
            await docker.call("x", lambda api: api.inspect_image(f"{environment_maker(name)}:publish"))
    finally:
        await docker.call_slowly("x", lambda api: api.remove_container(container, force=True))
        await docker.call_slowly("x", lambda api: [api.remove_image(one, force=True) for one in (work.reference, base)])


@pytest.mark.parametrize(
    ("found", "error", "why"),
    [
        (None, ContainerNotFound, "start it once"),
        ({"State": {}, "Config": {"Labels": {}}}, ContainerNotFound, "start it once"),
        ({"State": {"Running": True}}, ImageBuildFailed, "stop it first"),
        ({"State": {"Paused": True}}, ImageBuildFailed, "stop it first"),
    ],
)
def test_only_a_session_that_is_stopped_is_published(found: Any, error: type[Exception], why: str) -> None:
    uid = make_uid(1, 2)

    class Api:
        def inspect_container(self, name: str) -> dict[str, Any]:
            if found is None:
                raise docker_errors.NotFound("none")
            answer: dict[str, Any] = {"Config": {"Labels": session_labels(uid, "node", 1, 1)}} | found
            return answer

    with pytest.raises(error, match=why):
        _stopped(Api(), uid)


def test_what_belongs_to_one_machine_is_left_out() -> None:
    keys = {"etc/ssh/ssh_host_rsa_key": b"k", "etc/ssh/ssh_host_ed25519_key.pub": b"k", "var/lib/dbus/machine-id": b"1"}
    kept = {"etc/ssh/sshd_config": b"c", "root/ssh_host_notes": b"n", "etc/machine-id-of-mine": b"m"}
    netvps = {".netvps/README": b"r", ".dockerenv": b""}
    source = packed(keys | kept | netvps | {"etc/machine-id": b"1234"}, member("link", tarfile.SYMTYPE, "etc"))
    output = io.BytesIO()
    copy_members(io.BytesIO(source), output)
    output.seek(0)
    with tarfile.open(fileobj=output) as archive:
        found = {
            one.name: file.read() if (file := archive.extractfile(one)) else None for one in archive if one.isfile()
        }
        assert archive.getmember("link").issym()
    assert found == kept | {"etc/machine-id": b""}


@pytest.mark.parametrize("cut", [700, 1024, 2048])
def test_an_export_that_was_interrupted_is_noticed(cut: int) -> None:
    archive = packed({"a": bytes(range(256)) * 5})
    whole = archive[: len(archive.rstrip(bytes(1))) // 512 * 512 + 512 + 1024]
    pieces = _Pieces([whole[:-cut][start : start + 99] for start in range(0, len(whole) - cut, 99)], _Count())
    with pytest.raises((tarfile.TarError, ImageExportFailed)):
        _copied(pieces)


def _copied(pieces: _Pieces) -> None:
    copy_members(pieces, io.BytesIO())
    pieces.require_end()


def test_a_name_is_checked() -> None:
    assert PublishImage("u", "tools").reference == "netvps/tools:latest"
    with pytest.raises(InvalidInput) as refused:
        PublishImage("u", "Tools", "no tag")
    assert [violation.field for violation in refused.value.violations] == ["environment_id", "tag"]
