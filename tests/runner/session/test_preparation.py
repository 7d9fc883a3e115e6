from __future__ import annotations

from pathlib import Path

import pytest

from netvps.domain.session.container import SourceImage
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import SessionSpec
from netvps.runner.session.agent.runtime import RuntimeFolder
from netvps.runner.session.agent.upstream import Upstream
from netvps.runner.session.preparation import Preparation
from netvps.runner.trash import Trash
from tests.runner.lab import ScriptedLink

WANT = Assignment("0" * 13, "dev1", "alice", 1, 1, DesiredState.RUNNING, SessionSpec(image="debian:12"), None, 1)


class Bridges:
    async def bridge(self, address: str) -> str:
        assert not address, "a session without an address has no bridge"
        return "172.30.0.1"


@pytest.fixture
def link() -> ScriptedLink:
    return ScriptedLink()


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    return RuntimeFolder(tmp_path / "x", WANT.session_uid, Upstream("127.0.0.1:9"), Trash(tmp_path))


@pytest.fixture
def preparation(link: ScriptedLink, folder: RuntimeFolder) -> Preparation:
    return Preparation(Bridges(), link, folder, node="n1", agent=Path("/bin/agent"))  # type: ignore[arg-type]


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
