"""Fixtures of the runner's tests: the agent, an image, and a lab that is gone afterwards."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hatch_build import ENTRY_POINT
from netvps.adapters.docker.client import Docker
from tests.adapters.docker.overlay import OverlayNetwork, overlay_network
from tests.runner.lab import WAIT_SECONDS, Lab
from tests.support.images import busybox_archive, import_image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real agent, built from its source."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    program = tmp_path_factory.mktemp("agent") / "agent"
    subprocess.run(
        [go, "build", "-trimpath", f"-ldflags={ENTRY_POINT}", "-o", program, "."],
        cwd=ROOT / "tunnel", check=True, timeout=600,
        env={"CGO_ENABLED": "0", "HOME": str(Path.home()), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return program


@pytest.fixture(scope="session")
def busybox() -> Iterator[str]:
    """An image with busybox and nothing else."""
    reference = f"netvps-test-{secrets.token_hex(4)}:latest"
    import_image(busybox_archive(), reference)
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], stdout=subprocess.DEVNULL, check=False, timeout=60)


@pytest.fixture
async def lab(agent: Path, busybox: str) -> AsyncIterator[Lab]:
    """Everything that is made here is gone afterwards, also after a failure."""
    docker = await Docker.open()
    folder = Path(tempfile.mkdtemp(prefix="nvt"))  # short: there are sockets in it
    lab = Lab(docker, folder, agent, busybox)
    try:
        yield lab
    finally:
        try:
            await lab.sweep()
        finally:
            docker.close()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def networked(agent: Path, busybox: str) -> AsyncIterator[tuple[Lab, OverlayNetwork]]:
    """A lab whose runner has an overlay's network; the overlay itself is not there."""
    docker = await Docker.open()
    folder = Path(tempfile.mkdtemp(prefix="nvt"))
    try:
        with overlay_network() as overlay:
            lab = Lab(docker, folder, agent, busybox, overlay.name)
            try:
                yield lab, overlay
            finally:
                await lab.sweep()
    finally:
        docker.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Waits for a condition that has to be asked for."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await condition():
                await asyncio.sleep(0.05)

    return wait
