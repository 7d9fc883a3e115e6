"""Real containers on a real bridge; what the engine says is checked against what the bridge learned."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import EngineSlow
from netvps.adapters.docker.overlay_ports import OverlayPorts
from netvps.domain.overlay.links import OBJECT_NAMES
from tests.images import busybox_archive, import_image

pytestmark = [pytest.mark.docker, pytest.mark.netns]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def prefix() -> Iterator[str]:
    """Of a network, and of an image and containers."""
    made = f"nvp{secrets.token_hex(3)}"
    import_image(busybox_archive(), made)
    _run("docker", "network", "create", made)
    yield made
    for one in _run("docker", "ps", "-aq", "--filter", f"name={made}").split():
        _run("docker", "rm", "-f", one)
    _run("docker", "network", "rm", made)
    _run("docker", "rmi", "-f", made)


def _start(prefix: str, name: str) -> str:
    """The address of a container that has spoken."""
    _run("docker", "run", "-d", "--name", f"{prefix}-{name}", "--network", prefix, prefix, "sleep", "600")
    return _address(prefix, name)


def _endpoint(prefix: str, name: str) -> list[str]:
    """Address, gateway, MAC."""
    said = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{.MacAddress}}{{end}}"
    return _run("docker", "inspect", "-f", said, f"{prefix}-{name}").split()


def _address(prefix: str, name: str) -> str:
    address, gateway, _ = _endpoint(prefix, name)
    _run("docker", "exec", f"{prefix}-{name}", "ping", "-c1", "-W9", gateway)
    return address


def _learned(prefix: str, name: str) -> str:
    """The port that the bridge hears a container's MAC from."""
    mac = _run(
        "docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}", f"{prefix}-{name}"
    )
    words = next(line.split() for line in _run("bridge", "fdb", "show").splitlines() if line.startswith(mac))
    return words[words.index("dev") + 1]


async def test_ports_by_address_as_containers_come_and_go(prefix: str) -> None:
    docker = await Docker.open()
    try:
        ports = OverlayPorts(docker, replace(OBJECT_NAMES, network=prefix))
        assert await ports() == {}
        one, two = _start(prefix, "one"), _start(prefix, "two")
        assert await ports() == {one: _learned(prefix, "one"), two: _learned(prefix, "two")}
        _run("docker", "restart", "-t0", f"{prefix}-one")
        again = _address(prefix, "one")
        assert await ports() == {again: _learned(prefix, "one"), two: _learned(prefix, "two")}
        _run("docker", "rm", "-f", f"{prefix}-two")
        assert list(await ports()) == [again]
    finally:
        docker.close()


async def test_a_container_is_asked_for_once_and_a_silent_engine_changes_nothing(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = await Docker.open()
    try:
        ports = OverlayPorts(docker, replace(OBJECT_NAMES, network=prefix))
        _start(prefix, "one")
        before = await ports()
        asked: list[str] = []
        call = docker.call

        async def counted(subject: str, function: Callable[..., object]) -> object:
            asked.append(subject.split(maxsplit=1)[0])
            return await call(subject, function)

        async def silent(*_: object) -> None:
            raise EngineSlow("Docker did not answer in 1 s")

        monkeypatch.setattr(docker, "call", counted)
        assert (await ports(), asked) == (before, ["network"])
        monkeypatch.setattr(docker, "call", silent)
        assert await ports() == before
    finally:
        docker.close()


async def test_without_a_network_there_are_no_ports() -> None:
    docker = await Docker.open()
    try:
        assert await OverlayPorts(docker, replace(OBJECT_NAMES, network="nvp-not-there"))() == {}
    finally:
        docker.close()
