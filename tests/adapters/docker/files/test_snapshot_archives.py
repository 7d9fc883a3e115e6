"""What netvps.adapters.docker.files.snapshot_archives refuses, and says is missing; a runner tests the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.errors import ImageNotFound
from netvps.adapters.docker.files.archives import Archives
from netvps.adapters.docker.files.copies import Copies
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.container import Container, Status
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.errors import WrongState
from tests.support.images import busybox_archive

pytestmark = pytest.mark.docker
SESSION, UID = "000000000000s", "0000000000001"


@pytest.fixture
async def docker() -> AsyncIterator[Docker]:
    opened = await Docker.open(None)
    yield opened
    opened.close()


@pytest.fixture
def archives(docker: Docker, tmp_path: Path) -> SnapshotArchives:
    stored = Archives(tmp_path / "copies")
    return SnapshotArchives(docker, stored, Copies(docker, stored))


@pytest.fixture
async def container(docker: Docker) -> AsyncIterator[Container]:
    """One with a volume, that never ran."""
    name = container_name(SESSION)

    def make(api: Api) -> Container:
        api.import_image_from_data(
            busybox_archive(), repository="netvps-test-volume", tag="1", changes=["VOLUME /data"]
        )
        made = api.create_container("netvps-test-volume:1", "/bin/true", name=name)
        found = api.inspect_container(made["Id"])
        return Container(
            made["Id"], Status.CREATED, 1, image=found["Image"], files=found["GraphDriver"]["Data"]["UpperDir"]
        )

    yield await docker.call("test", make)
    docker.api.remove_container(name, v=True, force=True)
    docker.api.remove_image("netvps-test-volume:1", force=True)


async def test_what_is_not_in_it_is_said(archives: SnapshotArchives, container: Container) -> None:
    assert await archives.take(SESSION, UID, container, lambda: False)
    saved = archives.find(SESSION)[UID]
    assert saved.warnings == ("it does not hold what is in volumes of other drivers: /data",)
    assert archives.sessions() == {SESSION}
    archives.drop(SESSION, UID)
    archives.drop(SESSION, UID)
    assert archives.find(SESSION) == {}


async def test_a_machine_that_cannot_says_so(archives: SnapshotArchives, container: Container) -> None:
    with pytest.raises(WrongState, match="this machine takes no snapshots: that needs Docker's storage driver"):
        await archives.take(SESSION, UID, replace(container, files=""), lambda: False)
    with pytest.raises(WrongState, match="has no container, and no copy of its files"):
        await archives.take(SESSION, UID, None, lambda: False)


async def test_an_abandoned_one_leaves_nothing(archives: SnapshotArchives, container: Container) -> None:
    assert not await archives.take(SESSION, UID, container, lambda: True)
    assert archives.find(SESSION) == {}
    assert archives.sessions() == frozenset()


async def test_a_session_without_files_is_saved_as_what_it_is_to_be_made_from(
    archives: SnapshotArchives, container: Container
) -> None:
    assert await archives.take(SESSION, UID, container, lambda: False)
    clone, later = "000000000000c", "0000000000002"
    assert archives.repeat(clone, later, SnapshotSource(UID, SESSION))
    assert archives.find(clone)[later].run == ""
    assert archives.archive(clone, later).samefile(archives.archive(SESSION, UID))
    archives.drop(SESSION, UID)
    assert (await archives.image(clone, later))[0] == container.image
    with pytest.raises(ImageNotFound):
        archives.repeat(clone, "0000000000003", SnapshotSource(UID, SESSION))
