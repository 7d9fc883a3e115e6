"""One system for the tests of a module, and the images to make sessions from."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from hatch_build import ENTRY_POINT
from netvps.process.agent_program import agent_program
from netvps.settings import ServerSettings
from tests.e2e.kills.ground import Ground
from tests.e2e.overlay.standing_lab import StandingLab
from tests.e2e.system import System, docker, new_system, unique
from tests.support.images import busybox_archive, import_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.overlay.overlay_lab import Lab

_DEFAULT_IMAGE = str(ServerSettings.model_fields["default_image"].default)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """`netvps up`, running."""
    made = new_system()
    try:
        made.up()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="session")
def busybox() -> Iterator[str]:
    """An image with one static program in it."""
    name = unique("nve-busybox") + ":latest"
    import_image(busybox_archive(), name)
    yield name
    docker("rmi", "-f", name, check=False)


@pytest.fixture(scope="session")
def standing_lab() -> Iterator[StandingLab]:
    """Nothing, until a module asks for it."""
    made = StandingLab()
    yield made
    made.close()


@pytest.fixture(scope="module")
def three(request: pytest.FixtureRequest, standing_lab: StandingLab) -> Iterator[Lab]:
    """Three hosts with runners that are settled, and no session: see StandingLab."""
    with standing_lab.lent() as lab:
        yield lab
    if not _asked_for_later("three", request):
        standing_lab.close()  # what follows has the machine for itself


def _asked_for_later(fixture: str, request: pytest.FixtureRequest) -> bool:
    """Whether a test after this module has that fixture."""
    modules = [item.getparent(pytest.Module) for item in request.session.items if fixture in _fixtures(item)]
    return modules[-1] is not request.node


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


@pytest.fixture(scope="session")
def faulty_agents(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with agents for this machine that have fault points."""
    folder = tmp_path_factory.mktemp("agents")
    go = shutil.which("go") or "/usr/local/go/bin/go"
    subprocess.run(
        [
            go,
            "build",
            "-tags",
            "faults",
            "-trimpath",
            f"-ldflags={ENTRY_POINT}",
            "-o",
            folder / agent_program().name,
            ".",
        ],
        cwd=root / "tunnel",
        check=True,
        timeout=600,
        env=os.environ | {"CGO_ENABLED": "0"},
    )
    return folder


@pytest.fixture(scope="session")
def ground(
    request: pytest.FixtureRequest, faulty_agents: Path, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    """What systems stand on that faults are injected into."""
    needs_cluster = any(item.get_closest_marker("postgres") for item in request.session.items)
    cluster = request.getfixturevalue("cluster") if needs_cluster else None
    return Ground(faulty_agents, busybox, cluster, tmp_path_factory.mktemp("kept-logs"))


@pytest.fixture(scope="session")
def debian() -> Iterator[str]:
    """A Debian made on this machine, by the program that people use for that: for them (scripts/up does), or for us."""
    name = f"netvps/{unique('nve')}:latest"
    if docker("images", "-q", _DEFAULT_IMAGE):
        docker("tag", _DEFAULT_IMAGE, name)
    else:
        _bootstrap(name)
    yield name
    docker("rmi", "-f", name, check=False)


def _bootstrap(image: str) -> None:
    maker = new_system()
    try:
        maker.netvps("env", "bootstrap", image.removeprefix("netvps/").removesuffix(":latest"), timeout=900)
    finally:
        maker.destroy()


@pytest.fixture(params=["busybox", "debian"])
def image(request: pytest.FixtureRequest) -> str:
    """Each of the images."""
    return str(request.getfixturevalue(request.param))
