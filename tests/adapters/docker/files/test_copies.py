"""The runner's copy of a container's files: it has all that an image loses, and comes back after Docker forgot all."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import secrets
import struct
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import DiskFull, ImageExportFailed, ImageNotFound, VolumeMissing
from netvps.adapters.docker.files import archives
from netvps.adapters.docker.files.copies import Copies
from netvps.domain.runner.docker_names import container_name, restore_name
from netvps.domain.session.blueprint import Blueprint, blueprint
from netvps.domain.session.container import Container, SourceImage, Status
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.domain.uid import make_uid
from netvps.errors import DataLoss
from tests.support.images import busybox_archive, import_image
from tests.support.manifest import manifest
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.docker

WRITES = """
cd /root
mkdir old && mv /etc/passwd old/ && rmdir /var/empty 2>/dev/null
echo one > a && ln a b
echo kept > plan && echo notes > .wh.plan && : > .wh..wh..opq
truncate -s 4T hole
mkfifo pipe
chmod 2750 old
touch -d '2001-02-03 04:05:06' a
rm -r /usr/share 2>/dev/null
exit 0
"""


_NO_ID = 0xFFFFFFFF
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, _NO_ID), (2, 6, 4321), (4, 4, _NO_ID), (16, 6, _NO_ID), (32, 4, _NO_ID))
)
"""user::rw-, user:4321:rw-, group::r--, mask::rw-, other::r-- (linux/posix_acl_xattr.h)."""


class Box:
    """A session's container, and the engine that keeps it."""

    writes = WRITES

    def __init__(self, docker: Docker, image: str, folder: Path) -> None:
        uid = make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))
        self.docker = docker
        self.folder = folder
        self.node = f"test{secrets.token_hex(6)}"
        self.restart()
        spec = SessionSpec(image=image, network=Network.NONE)
        self.assignment = Assignment(uid, "dev1", "ann", 1, 1, DesiredState.STOPPED, spec, None, 1)

    def restart(self) -> None:
        """Forgets what is in memory."""
        volumes = self.folder.with_name("volumes")
        self.engine = DockerEngine(self.docker, node=self.node, node_name="here", copies=self.folder, volumes=volumes)

    def plan(self, source: SourceImage) -> Blueprint:
        made = blueprint(
            self.assignment,
            source,
            node=self.node,
            machine_memory=1 << 30,
            agent=Path("/bin/sh"),
            run=Path("/tmp"),
            resolv_conf=Path("/tmp/x"),
        )
        return replace(made, entrypoint=("/bin/sh", "-c", self.writes), binds=())

    async def lived(self, *, changed: bool = True) -> Container:
        """Runs `writes` in a new container; adds what busybox cannot set if `changed`."""
        await self.engine.create(self.plan(SourceImage(self.assignment.spec.image, volumes=VOLUMES)))
        await self.engine.start(await self.found())
        async with asyncio.timeout(PATIENCE):
            while (container := await self.found()).status is not Status.EXITED:
                await asyncio.sleep(0.02)
        assert container.exit_code == 0
        if not changed:
            return container
        # Its folder is changed as the session's own processes would change it.
        file = Path(container.files, "root/a")
        os.setxattr(file, "user.origin", b"lab7")
        os.setxattr(file, "system.posix_acl_access", ACL)
        os.utime(file, ns=(1, 123_456_789))
        return container

    async def found(self) -> Container:
        container = (await self.engine.inspect(self.assignment)).container
        assert container is not None
        return container

    async def copy(self, given_up: Callable[[], bool] = lambda: False) -> bool:
        return await self.engine.copy(self.assignment, await self.found(), given_up)

    async def restored(self) -> Container:
        files = (await self.engine.inspect(self.assignment)).files
        assert files is not None
        source = await self.engine.provide(self.assignment.session_uid, files, print)
        await self.engine.restore(self.plan(source), None)
        return await self.found()

    async def forget(self, image: str) -> None:
        await self.docker.call(image, lambda api: api.remove_image(image, force=True))

    async def names(self) -> set[str]:
        filters = {"label": f"netvps.session_id={self.assignment.session_uid}"}
        found = await self.docker.call("containers", lambda api: api.containers(all=True, filters=filters))
        return {name.removeprefix("/") for one in found for name in one["Names"]}

    async def prune(self) -> None:
        """Does what `docker system prune -af --volumes` does, to the objects of this test alone."""
        own = {"label": [f"netvps.session_id={self.assignment.session_uid}"]}
        await self.docker.call("prune", lambda api: api.prune_containers(own))
        await self.docker.call("prune", lambda api: api.prune_volumes(own))
        await self.docker.call(
            "prune", lambda api: api.prune_images({"dangling": False, "label": [self.assignment.spec.image]})
        )

    async def volumes(self) -> dict[str, str]:
        """The folders of the session's volumes, by path."""
        found = await self.docker.call(
            "container", lambda api: api.inspect_container(container_name(self.assignment.session_uid))
        )
        return {mount["Destination"]: mount["Source"] for mount in found["Mounts"] if mount["Type"] == "volume"}


VOLUMES = ("/data", "/empty")


def seeded_archive() -> bytes:
    """A root file system with a file at the path of a volume: Docker copies it into the volume when that is new."""
    buffer = io.BytesIO(busybox_archive())
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("data/seed"), io.BytesIO())
    return buffer.getvalue()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    docker = await Docker.open()
    image = f"netvps-test-{secrets.token_hex(4)}:1"
    changes = (f"VOLUME {json.dumps(VOLUMES)}", f"LABEL {image}=1")
    await asyncio.to_thread(import_image, seeded_archive(), image, changes=changes)
    made = Box(docker, image, tmp_path / "copies")
    try:
        yield made
    finally:
        image_id = (await made.engine.inspect(made.assignment)).files
        await made.engine.erase(made.assignment.session_uid)
        for reference in (image, image_id.image if image_id else image):
            with suppress(ImageNotFound):
                await made.forget(reference)
        docker.close()


async def test_all_comes_back_after_docker_forgot_the_container_and_its_image(box: Box) -> None:
    before = await box.lived()
    expected = manifest(before.files)
    assert "user.origin" in str(expected)
    assert await box.copy()
    files = (await box.engine.inspect(box.assignment)).files
    assert files is not None
    assert (files.run, files.image) == (before.run, before.image)
    await box.engine.remove(before)
    await box.forget(before.image)
    after = await box.restored()
    assert manifest(after.files) == expected
    assert (after.status, after.started, after.image) == (Status.CREATED, None, before.image)
    assert await box.names() == {container_name(box.assignment.session_uid)}
    assert await box.engine.owned() == {box.assignment.session_uid}
    await box.engine.erase(box.assignment.session_uid)
    assert await box.engine.owned() == frozenset()
    assert [path.name for path in box.folder.iterdir()] == ["images"]


IN_VOLUME = """
cd /data
rm seed
echo one > a && ln a b && chmod 4711 a && chown 7:8 a
mkdir -p deep/er && truncate -s 1T deep/er/hole && mkfifo deep/pipe
ln -s /nowhere link
exit 0
"""


async def test_volumes_come_back_with_all_files_after_docker_pruned_everything(box: Box) -> None:
    box.writes = IN_VOLUME
    before = await box.lived(changed=False)
    folders = await box.volumes()
    assert set(folders) == set(VOLUMES)
    os.setxattr(Path(folders["/data"], "a"), "user.origin", b"lab7")
    os.setxattr(Path(folders["/data"], "a"), "system.posix_acl_access", ACL)
    Path(folders["/data"]).chmod(0o2770)
    expected = {path: manifest(folder) for path, folder in folders.items()}
    assert await box.copy()
    await box.prune()
    assert not any(Path(folder).exists() for folder in folders.values())
    with pytest.raises(ImageNotFound):
        await box.docker.call("image", lambda api: api.inspect_image(before.image))
    await box.restored()
    assert {path: manifest(folder) for path, folder in (await box.volumes()).items()} == expected
    assert Path(folders["/data"]).stat().st_mode & 0o7777 == 0o2770


async def test_a_volume_that_still_exists_keeps_its_files(box: Box) -> None:
    box.writes = IN_VOLUME
    before = await box.lived(changed=False)
    assert await box.copy()
    newer = Path((await box.volumes())["/data"], "newer")
    newer.touch()
    await box.engine.remove(before)
    await box.restored()
    assert newer.exists()


async def test_a_volume_that_a_crash_left_half_filled_is_filled_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError

    box.writes = IN_VOLUME
    await box.lived(changed=False)
    folders = await box.volumes()
    expected = manifest(folders["/data"])
    assert await box.copy()
    await box.prune()
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_extract", crash)
        with pytest.raises(RuntimeError):
            await box.restored()
    assert Path(folders["/data"], "seed").exists()  # from the image
    box.restart()
    with pytest.raises(VolumeMissing):  # neither does anything else start with it
        await box.engine.create(box.plan(SourceImage(box.assignment.spec.image, volumes=VOLUMES)))
    await box.restored()
    assert manifest(folders["/data"]) == expected


async def test_room_is_asked_for_files_in_volumes_too(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.writes = "dd if=/dev/zero of=/data/big bs=1M count=5"
    await box.lived(changed=False)
    monkeypatch.setattr(archives, "disk_free", lambda _: 1 << 20)
    with pytest.raises(DiskFull, match=r"needs 69 MiB and 1 MiB are free"):
        await box.copy()


async def test_a_newer_copy_takes_the_place_of_the_older(box: Box) -> None:
    await box.lived()
    assert await box.copy()
    await box.engine.start(await box.found())
    async with asyncio.timeout(PATIENCE):
        while (again := await box.found()).status is not Status.EXITED:
            await asyncio.sleep(0.02)
    assert await box.copy()
    files = (await box.engine.inspect(box.assignment)).files
    assert files is not None
    assert files.run == again.run
    assert len(list(box.folder.glob("*.tar"))) == 1


async def test_a_copy_that_is_given_up_leaves_the_older_one(box: Box) -> None:
    container = await box.lived()
    assert await box.copy()
    (older,) = box.folder.glob("*.tar")
    assert not await box.engine.copy(box.assignment, replace(container, ended=None), lambda: True)
    assert list(box.folder.glob("*.tar*")) == [older]


async def test_a_container_that_was_started_meanwhile_is_not_copied(box: Box) -> None:
    container = await box.lived()
    await box.engine.start(container)
    assert not await box.engine.copy(box.assignment, container, lambda: False)
    assert (await box.engine.inspect(box.assignment)).files is None
    assert list(box.folder.glob("*.tar")) == []


async def test_a_damaged_copy_is_never_started(box: Box) -> None:
    container = await box.lived()
    assert await box.copy()
    (archive,) = box.folder.glob("*.tar")
    with archive.open("r+b") as file:
        file.seek(700)
        file.write(b"x")
    await box.engine.remove(container)
    with pytest.raises(DataLoss, match="its checksum does not match"):
        await box.restored()
    assert await box.names() == {restore_name(box.assignment.session_uid)}
    assert (await box.engine.inspect(box.assignment)).container is None


async def test_a_copy_without_room_fails_with_the_numbers(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await box.lived()
    monkeypatch.setattr(archives, "disk_free", lambda _: 1 << 20)
    with pytest.raises(DiskFull, match=r"needs 64 MiB and 1 MiB are free"):
        await box.copy()
    assert list(box.folder.glob("*.tar*")) == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, DiskFull, "the disk of the runner's state folder is full"),
        (errno.ENOENT, ImageExportFailed, "No such file or directory"),
    ],
)
async def test_an_error_of_our_own_files_is_not_taken_for_the_engines(
    box: Box, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], words: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    await box.lived()
    monkeypatch.setattr(archives, "_packed", fail)
    with pytest.raises(kind, match=words):
        await box.copy()


async def test_images_that_no_copy_stands_on_go_after_a_while(box: Box) -> None:
    await box.lived()
    assert await box.copy()
    (image,) = (box.folder / "images").iterdir()
    await box.engine.erase(box.assignment.session_uid)
    assert image.exists()  # another process may just be making a copy that stands on it
    os.utime(image, (0, 0))
    await box.engine.erase(box.assignment.session_uid)
    assert not image.exists()


@pytest.mark.parametrize(
    "name", ["{uid}.json.77.part", "{uid}-0123456789abcdef.tar.77.part", "{uid}-0123456789abcdef.tar"]
)
def test_what_a_killed_runner_left_of_a_copy_is_found_and_erased(box: Box, tmp_path: Path, name: str) -> None:
    kept, gone = Copies(box.docker, archives.Archives(tmp_path)), box.assignment.session_uid
    other = make_uid(1, 1)
    for uid in (gone, other):
        (tmp_path / name.format(uid=uid)).touch()
    assert kept.sessions() == {gone, other}
    kept.erase(gone)
    assert [path.name for path in tmp_path.iterdir()] == [name.format(uid=other)]
