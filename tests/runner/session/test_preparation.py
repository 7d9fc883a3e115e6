from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.containers import host_config
from netvps.adapters.lxcfs import lxcfs_files
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.container import SourceImage
from netvps.domain.session.lifecycle import DISK_LIMIT
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.runner.session.agent.runtime import RuntimeFolder
from netvps.runner.session.agent.upstream import Upstream
from netvps.runner.session.features import Features
from netvps.runner.session.preparation import Preparation
from netvps.runner.trash import Trash
from tests.e2e.faults.own_engine import OwnEngine
from tests.runner.lab import Lab, ScriptedLink

WANT = Assignment("0" * 13, "dev1", "alice", 1, 1, DesiredState.RUNNING, SessionSpec(image="debian:12"), None, 1)


class Bridges:
    async def bridge(self, address: str) -> str:
        assert not address, "a session without an address has no bridge"
        return "172.30.0.1"


@pytest.fixture
def link() -> ScriptedLink:
    return ScriptedLink()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[RuntimeFolder]:
    folder = RuntimeFolder(tmp_path / "x", WANT.session_uid, Upstream("127.0.0.1:9"), Trash(tmp_path))
    yield folder
    await folder.close()


@pytest.fixture
def preparation(link: ScriptedLink, folder: RuntimeFolder) -> Preparation:
    features = Features()
    return Preparation(Bridges(), link, folder, features, node="n1", agent=Path("/bin/agent"))  # type: ignore[arg-type]


async def test_a_session_that_moved_asks_the_bridge_of_its_local_address_and_waits_for_its_own(
    link: ScriptedLink, folder: RuntimeFolder
) -> None:
    asked: list[str] = []

    class Asked:
        async def bridge(self, address: str) -> str:
            asked.append(address)
            return "10.128.4.1"

    made = Preparation(Asked(), link, folder, Features(), node="n1", agent=Path("/bin/agent"))  # type: ignore[arg-type]
    await made.prepare(replace(WANT, address="10.128.0.2", local_address="10.128.4.2"))
    assert asked == ["10.128.4.2"]
    assert folder.resolv_conf.read_text().startswith("nameserver 10.128.4.1\n")
    assert (folder.path / "address.json").is_file()
    await made.prepare(replace(WANT, address="10.128.4.9"))
    assert asked[1:] == ["10.128.4.9"]
    assert not (folder.path / "address.json").exists()


async def test_a_container_starts_without_a_certificate_while_the_control_plane_is_away(
    preparation: Preparation, folder: RuntimeFolder, link: ScriptedLink
) -> None:
    await preparation.prepare(WANT)
    link.away = True
    assert not await preparation.boot(WANT)
    link.away = False
    assert await preparation.boot(WANT)
    assert (folder.path / "boot.json").is_file()
    link.away = True
    assert await preparation.boot(WANT)  # it has one for this epoch


async def test_the_container_mounts_the_agent_and_its_own_folder(
    preparation: Preparation, folder: RuntimeFolder
) -> None:
    made = preparation.blueprint(WANT, SourceImage("debian:12"))
    assert {(bind.source, bind.read_only) for bind in made.binds} == {("/bin/agent", True), (str(folder.path), True)}


@pytest.mark.docker
async def test_a_container_that_mounts_lxcfs_is_made_again_with_all_files_when_that_is_gone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain file in place of lxcfs, which not every machine has."""
    monkeypatch.setattr(host_config, "MOUNT", str(tmp_path))
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 7 kB\n")
    found: tuple[tuple[str, str], ...] = ((str(meminfo), "/proc/meminfo"),)
    lab.features = Features(lxcfs=lambda: found)
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/proc/meminfo") == "MemTotal: 7 kB\n"
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        before = await lab.container(assignment)
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)
        await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.RUNNING)
        assert ((await lab.container(assignment)) or {})["Id"] == (before or {})["Id"]
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)
    meminfo.unlink()
    found = ()
    async with lab.runner():
        await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.RUNNING)
        assert "MemTotal: 7 kB" not in await lab.run_in(assignment, "cat", "/proc/meminfo")
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


if lxcfs_files():  # not skipped without it: in CI that is a failure

    @pytest.mark.docker
    async def test_lxcfs_shows_a_session_its_own_memory(lab: Lab) -> None:
        lab.features = Features(lxcfs=lxcfs_files)
        assignment = lab.session()
        assignment = replace(assignment, spec=replace(assignment.spec, memory_bytes=64 << 20))
        lab.link.assign(assignment)
        async with lab.runner():
            await lab.link.reported(assignment, SessionState.RUNNING)
            assert "MemTotal:          65536 kB\n" in await lab.run_in(assignment, "cat", "/proc/meminfo")


@pytest.mark.docker
async def test_a_session_with_a_gpu_that_docker_cannot_give_says_what_to_install(lab: Lab) -> None:
    """The container is made, with the request as it was allocated; its start fails where there is no toolkit."""
    assignment = replace(lab.session(), gpus=("GPU-5e4b1f2a-0c1d-4e5f-8a9b-0123456789ab",))
    lab.link.assign(assignment)
    async with lab.runner():
        report = await lab.link.reported(assignment, SessionState.FAILED, "container")
        assert "install the NVIDIA Container Toolkit on its runner" in report.message
        name = container_name(assignment.session_uid)
        made = await asyncio.to_thread(lambda: lab.api.inspect_container(name)["HostConfig"]["DeviceRequests"])
        assert [(one["DeviceIDs"], one["Capabilities"]) for one in made] == [([*assignment.gpus], [["gpu"]])]
        # What has none any more is not started with it.
        without = replace(assignment, gpus=(), generation=2)
        lab.link.assign(without)
        await lab.link.reported(without, SessionState.RUNNING)
        found = await asyncio.to_thread(lambda: lab.api.inspect_container(name)["HostConfig"]["DeviceRequests"])
        assert not found


def _file_systems_with_quotas() -> list[str]:
    """Those on which this machine's kernel can limit a container's disk."""
    try:
        config = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        config = ""
    options = {"xfs": "CONFIG_XFS_QUOTA", "btrfs": "CONFIG_BTRFS_FS"}
    return [name for name, option in options.items() if re.search(rf"^{option}=[ym]$", config, re.MULTILINE)]


@pytest.fixture(params=_file_systems_with_quotas())
def engine_with_quotas(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    """Docker on a file system with quotas."""
    if os.geteuid() or not shutil.which(f"mkfs.{request.param}"):
        pytest.skip(f"needs root and mkfs.{request.param}")
    engine = OwnEngine(disk=512, quotas=request.param)
    try:
        engine.start()
        yield engine
    finally:
        engine.destroy()


def _is_settled(report: SessionReport, assignment: Assignment, state: SessionState) -> bool:
    """Whether it is in that state, with the disk that it should have or with the reason why not."""
    place = (report.state, report.generation)
    return place == (state, assignment.generation) and report.reason in {"", DISK_LIMIT}


@pytest.mark.docker
@pytest.mark.slow
async def test_a_disk_limit_holds_and_a_new_one_does_from_the_next_start(
    engine_with_quotas: OwnEngine, agent: Path
) -> None:
    image, docker = engine_with_quotas.import_busybox(), await Docker.open(engine_with_quotas.host)
    folder = Path(tempfile.mkdtemp(prefix="nvt"))
    lab = Lab(docker, folder, agent, image)
    write = ("sh", "-c", "dd if=/dev/zero of=/root/big bs=1M count=100 2>&1 || true; sync")
    assignment = lab.session()
    assignment = replace(assignment, spec=replace(assignment.spec, disk_bytes=64 << 20))
    lab.link.assign(assignment)

    async def is_full() -> bool:
        said = await lab.run_in(assignment, *write)
        return "No space left on device" in said or "Disk quota exceeded" in said

    try:
        async with lab.runner():
            assert (await lab.engine.capacity()).disk_limits
            await lab.link.reported(assignment, SessionState.RUNNING)
            assert await is_full()
            await lab.run_in(assignment, "sh", "-c", "rm /root/big; echo kept > /root/file")
            stopped = lab.next(assignment, DesiredState.STOPPED)
            larger = replace(stopped, spec=replace(assignment.spec, disk_bytes=160 << 20))
            lab.link.assign(larger)
            await lab.link.until(lambda: _is_settled(lab.link.reports[-1], larger, SessionState.STOPPED))
            copied = (await lab.engine.inspect(larger)).files is not None  # with overlay2
            assert lab.link.reports[-1].reason == ("" if copied else DISK_LIMIT)
            running = lab.next(assignment, DesiredState.RUNNING)
            await lab.link.until(lambda: _is_settled(lab.link.reports[-1], running, SessionState.RUNNING))
            assert await is_full() is not copied
            assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
    finally:
        await lab.sweep()
        docker.close()
        shutil.rmtree(folder, ignore_errors=True)
